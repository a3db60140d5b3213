"""The API as JSON over HTTP: the table of roles, the record of who was turned away, and everything a body can be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from aisecops.v1.audit_service_pb2 import StreamEventsResponse
from aisecops.v1.decision_service_pb2 import DecideResponse
from aisecops.v1.event_pb2 import Event
from aisecops_client.messages import bearer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.web import gateway
from aisecops_server.entrypoints.web.event_stream import Pace, beginning
from aisecops_server.entrypoints.web.headers import Guarded
from aisecops_server.entrypoints.web.listener import WebListening, listening
from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.applications import Starlette

from tests.integration.api.calls import EVERY_CALL, call, reason_of
from tests.integration.api.plans import request
from tests.integration.api.running import Api, running_api
from tests.integration.api.test_access import EXPECTED

pytestmark = pytest.mark.asyncio(loop_scope="module")
DECIDE = "DecisionService/Decide"
MANY_REQUESTS = {"DecisionService/Session", "EdgeService/Reconcile"}
ONE_REQUEST = [name for name in EXPECTED if name not in MANY_REQUESTS]
SECONDS = 60


@dataclass(frozen=True)
class Door:
    """A control plane and the address of its gateway."""

    api: Api
    address: str
    http: aiohttp.ClientSession
    before: int = 0

    def credential(self, *roles: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api.token(*roles)}"}

    @asynccontextmanager
    async def asked(
        self, path: str, body: bytes = b"{}", headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), **also: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        sent = list(headers.items() if isinstance(headers, Mapping) else headers)
        if not any(name.lower() == "content-type" for name, _ in sent):
            sent.append(("Content-Type", "application/json"))
        verb = also.pop("verb", "POST")
        async with self.http.request(verb, f"http://{self.address}{path}", data=body, headers=sent, **also) as answer:
            yield answer

    async def post(self, name: str, body: bytes = b"{}", headers: Any = (), **also: Any) -> tuple[int, dict[str, Any]]:
        async with self.asked(f"/api/v1/{name}", body, headers, **also) as answer:
            return answer.status, json.loads(await answer.text())

    async def noted(self) -> list[Any]:
        """Return what is on record of who was turned away since it was last asked."""
        before = len(self.api.log.stored)
        await self.api.refusals.flush()
        return [json.loads(stored.event.body)["details"] for stored in self.api.log.stored[before:]]

    def written(self) -> list[str]:
        return [stored.event.type for stored in self.api.log.stored[self.before :]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Door]:
    async with running_api(tcp=True) as api:
        app = Guarded(Starlette(routes=gateway.routes(api.server.calls, Pace(first=SECONDS, every=0.05))), hosts=())
        async with listening(app, WebListening("127.0.0.1:0")) as address, aiohttp.ClientSession() as http:
            yield Door(api, address, http)


@pytest_asyncio.fixture(loop_scope="module")
async def door(served: Door) -> Door:
    await served.api.refusals.flush()
    served.api.engine.documents.clear()
    return replace(served, before=len(served.api.log.stored))


def reason(status: Mapping[str, Any]) -> str:
    (info,) = [part for part in status["details"] if part["@type"].endswith("google.rpc.ErrorInfo")]
    assert info["domain"] == "aisecops"
    return str(info["reason"])


def field(status: Mapping[str, Any]) -> str:
    (bad,) = [part for part in status["details"] if part["@type"].endswith("google.rpc.BadRequest")]
    return str(bad["fieldViolations"][0]["field"])


def plan_json(tool: str = "tickets/read") -> bytes:
    return json_format.MessageToJson(request(tool)).encode()


async def test_every_role_gets_through_to_exactly_the_calls_that_it_has_over_grpc(door: Door) -> None:
    let_in: dict[str, set[Role]] = {name: set() for name in ONE_REQUEST}
    for role in Role:
        headers = door.credential(role)
        for name in ONE_REQUEST:
            async with door.asked(f"/api/v1/{name}", b"[]", headers) as answer:
                found = json.loads(await answer.text())
                # A list is no request of any call, which only those learn who may make it.
                assert (answer.status, reason(found)) in ((403, "NOT_PERMITTED"), (400, "INVALID_REQUEST")), name
                if answer.status == 400:
                    let_in[name].add(role)
    assert let_in == {name: EXPECTED[name] for name in ONE_REQUEST}


async def test_there_is_every_call_with_one_request_and_no_other(door: Door) -> None:
    assert {f"/aisecops.v1.{name}" for name in [*ONE_REQUEST, *MANY_REQUESTS]} == set(EVERY_CALL)
    headers = door.credential(*Role)
    for name in MANY_REQUESTS:
        status, found = await door.post(name, b"{}", headers)
        assert (status, reason(found)) == (501, "NOT_FOUND")
    for name in (
        "DecisionService/Nothing",
        "Nothing/Decide",
        "aisecops.v1.DecisionService/Decide",
        "a/b/c",
        "%2e%2e/x",
    ):
        status, found = await door.post(name, b"{}", headers)
        assert (status, reason(found)) == (404, "NOT_FOUND"), name


async def test_a_plan_is_decided_and_written_as_over_grpc(door: Door) -> None:
    headers = door.credential(Role.AGENT)
    status, found = await door.post(DECIDE, plan_json(), headers)
    over_http, door = door.written(), replace(door, before=len(door.api.log.stored))
    async with grpc.aio.insecure_channel(door.api.address) as channel:
        metadata = bearer(door.api.token(Role.AGENT))
        await call(channel, f"/aisecops.v1.{DECIDE}", request("tickets/read").SerializeToString(), metadata)
    assert (status, found["decision"]["outcome"]) == (200, "OUTCOME_ALLOW")
    assert over_http == door.written() != []


@pytest.mark.parametrize("who", ["nobody", "nonsense", "another"])
async def test_who_is_turned_away_is_told_and_written_as_over_grpc(door: Door, who: str) -> None:
    token = {"nobody": "", "nonsense": "nonsense", "another": door.api.token(Role.AUDITOR)}[who]
    metadata = bearer(token) if token else []
    status, found = await door.post(DECIDE, plan_json(), {"Authorization": f"Bearer {token}"} if token else {})
    over_http = await door.noted()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{door.api.server.ports[0]}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(channel, f"/aisecops.v1.{DECIDE}", request("tickets/read").SerializeToString(), metadata)
    assert status == (403 if who == "another" else 401)
    assert error.value.code().value[0] == found["code"]
    assert error.value.details() == found["message"]
    assert reason_of(error.value) == reason(found)
    assert over_http == await door.noted() != []


async def test_several_tokens_and_other_schemes_prove_nobody(door: Door) -> None:
    token = f"Bearer {door.api.token(Role.AGENT)}"
    several = [("Authorization", token), ("Authorization", token)]
    for headers in (several, [("Authorization", "Basic YTpi")], [("Authorization", "Bearer ")], [("X-Agent-Id", "me")]):
        status, found = await door.post(DECIDE, plan_json(), headers)
        assert (status, reason(found)) == (401, "UNAUTHENTICATED"), headers
    async with door.asked(f"/api/v1/{DECIDE}") as answer:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "decision.made" not in door.written()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_a_page_of_somebody_else_makes_no_call_whatever_it_has(door: Door, headers: dict[str, str]) -> None:
    status, found = await door.post(DECIDE, plan_json(), {**door.credential(Role.AGENT), **headers})
    assert (status, reason(found)) == (403, "NOT_PERMITTED")
    assert door.written() == []


async def test_no_page_elsewhere_is_told_that_it_may_ask(door: Door) -> None:
    asking = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with door.asked(f"/api/v1/{DECIDE}", b"", asking, verb="OPTIONS") as answer:
        assert answer.status == 405
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("name", [DECIDE, "BundleService/Activate", "AuditService/StreamEvents"])
async def test_only_post_makes_a_call(door: Door, verb: str, name: str) -> None:
    headers = door.credential(*Role)
    async with door.asked(f"/api/v1/{name}", b"{}", headers, verb=verb) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert reason(json.loads(await answer.text())) == "INVALID_REQUEST"
    assert (door.written(), door.api.policy.asked) == ([], [])


async def test_another_host_is_not_served(door: Door) -> None:
    async with door.asked(f"/api/v1/{DECIDE}", plan_json(), {**door.credential(), "Host": "evil.example"}) as answer:
        assert answer.status == 421


@pytest.mark.parametrize(
    ("kind", "coding"),
    [
        ("text/plain", ""),
        ("application/x-www-form-urlencoded", ""),
        ("application/json; charset=utf-16", ""),
        ("application/protobuf", ""),
        ("application/json", "gzip"),
    ],
)
async def test_a_body_that_a_form_could_send_or_that_unfolds_is_not_read(door: Door, kind: str, coding: str) -> None:
    headers = {**door.credential(Role.AGENT), "Content-Type": kind}
    if coding:
        headers["Content-Encoding"] = coding
    status, found = await door.post(DECIDE, plan_json(), headers)
    assert (status, reason(found)) == (415, "INVALID_REQUEST")
    assert door.written() == []


def with_arguments(text: str) -> bytes:
    return json.dumps({"plan": {"steps": [{"stepId": "s", "tool": "a/b", "argumentsJson": text}]}}).encode()


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "body"),
        (b"\xff\xfe", "body"),
        (b"\xef\xbb\xbf{}", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b"{} {}", "body"),
        (b'{"plan": {}, "plan": {}}', "body"),
        (b'{"plan": {}, "pl\\u0061n": {}}', "body"),
        (b'{"idempotencyKey": "a", "idempotency_key": "b"}', "idempotency_key"),
        (b'{"idempotencyKey": NaN}', "body"),
        (b'{"idempotencyKey": Infinity}', "body"),
        (b'{"idempotencyKey": "\\ud800"}', "body"),
        (b'{"idempotencyKey": 7}', "idempotencyKey"),
        (b'{"deadline": 1e400}', "body"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "body"),
        (b"[" * 1_000_000, "body"),
        (b'{"plan": ' + b'{"plan": ' * 31 + b"1" + b"}" * 32, "plan.plan"),
        (b'{"nothing": 1}', "nothing"),
        (b'{"plan": {"steps": [{"nothing": 1}]}}', "plan.steps[0].nothing"),
        (b'{"plan": {"steps": 1}}', "plan.steps"),
        (b'{"plan": [1]}', "plan"),
        (b'{"plan": {"sources": [{"kind": "SOURCE_KIND_NOTHING"}]}}', "plan.sources[0].kind"),
        (b'{"plan": {"sources": [{"kind": true}]}}', "plan.sources[0].kind"),
        (with_arguments("***"), "plan.steps[0].argumentsJson"),
        (with_arguments("e30 "), "plan.steps[0].argumentsJson"),
        (with_arguments("+/-_"), "plan.steps[0].argumentsJson"),
        (with_arguments("e"), "body"),
    ],
    ids=lambda value: repr(value[:30]),
)
async def test_hostile_json_is_refused_by_the_name_of_its_field(door: Door, body: bytes, place: str) -> None:
    status, found = await door.post(DECIDE, body, door.credential(Role.AGENT))
    assert (status, found["code"], reason(found)) == (400, 3, "INVALID_REQUEST")
    assert field(found) == place
    assert door.api.engine.documents == []


@pytest.mark.parametrize("number", ['"1_0"', '"0x10"', '" 1"', "1.5", "true", '"\u0661"', '"1e1"', '""', "[1]", "{}"])
async def test_a_number_is_plain_digits(door: Door, number: str) -> None:
    body = f'{{"pageSize": {number}}}'.encode()
    status, found = await door.post("AuditService/ListTraces", body, door.credential(Role.AUDITOR))
    assert (status, field(found)) == (400, "pageSize")
    for good in (b'{"pageSize": 10}', b'{"page_size": "10"}', b'{"pageSize": 1e1}', b'{"pageSize": null}'):
        assert (await door.post("AuditService/ListTraces", good, door.credential(Role.AUDITOR)))[0] == 200, good


async def test_what_is_too_large_is_stopped_whether_or_not_it_says_so(door: Door) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(gateway.MOST_BYTES // 65536 + 2):
            yield b" " * 65536

    headers = door.credential(Role.AGENT)
    # Whoever stops to read tells so and closes, which a sender in the middle of it may see as either.
    outcomes = []
    for body in (b" " * (gateway.MOST_BYTES + 1), parts()):
        try:
            outcomes.append((await door.post(DECIDE, body, headers))[0])  # type: ignore[arg-type]
        except aiohttp.ClientError:
            outcomes.append(413)
    assert outcomes == [413, 413]
    assert door.written() == []


async def test_who_may_not_gets_no_body_read(door: Door) -> None:
    status, found = await door.post(DECIDE, b"\xff" * 1000, door.credential(Role.AUDITOR))
    assert (status, reason(found)) == (403, "NOT_PERMITTED")


async def test_a_deadline_is_kept_and_one_that_is_none_is_refused(door: Door) -> None:
    headers = door.credential(Role.AGENT)
    for bad in ("5", "5s", "-5S", "1.5S", "S", "999999999S", ""):
        status, found = await door.post(DECIDE, plan_json(), {**headers, "Grpc-Timeout": bad})
        assert (status, field(found)) == (400, "grpc-timeout"), bad
    assert (await door.post(DECIDE, plan_json(), {**headers, "Grpc-Timeout": "60S"}))[0] == 200


async def test_a_body_that_never_ends_ends_with_the_deadline(door: Door) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    headers = {**door.credential(Role.AGENT), "Grpc-Timeout": "50m"}
    status, found = await door.post(DECIDE, slowly(), headers)  # type: ignore[arg-type]
    assert (status, reason(found)) == (503, "ENGINE_UNAVAILABLE")


async def test_a_caller_s_trace_is_kept(door: Door) -> None:
    headers = {**door.credential(Role.AGENT), "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    assert (await door.post(DECIDE, plan_json(), headers))[0] == 200
    assert any("ab" * 16 in stored.event.body.decode() for stored in door.api.log.stored)


async def test_what_is_answered_is_the_message_of_the_api(door: Door) -> None:
    _, found = await door.post(DECIDE, plan_json("db/delete"), door.credential(Role.AGENT))
    assert found["decision"]["outcome"] == "OUTCOME_DENY"
    assert json_format.ParseDict(found, DecideResponse()).decision.decision_id


def events(text: str) -> list[dict[str, str]]:
    """Return the events of a whole stream, read as the standard says."""
    parts = [block.split("\n") for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block if not line.startswith(":")) for block in parts]


async def test_a_stream_is_events_with_their_places_and_goes_on_behind_the_last(door: Door) -> None:
    for _ in range(3):
        await door.post(DECIDE, plan_json(), door.credential(Role.AGENT))
    headers = {**door.credential(Role.AUDITOR), "Last-Event-ID": str(door.before - 1)} if door.before else {}
    headers |= door.credential(Role.AUDITOR)
    async with door.asked("/api/v1/AuditService/StreamEvents", b"{}", headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        told = events(await answer.text())
    stored = door.api.log.stored[door.before :]
    assert told[-1] == {"event": "end", "data": "{}"}
    assert [int(part["id"]) for part in told[:-1]] == [one.index for one in stored]
    assert [json.loads(part["data"])["event"]["eventId"] for part in told[:-1]] == [one.event.id for one in stored]
    again = {**headers, "Last-Event-ID": told[1]["id"]}
    async with door.asked("/api/v1/AuditService/StreamEvents", b"{}", again) as answer:
        assert events(await answer.text()) == told[2:]


async def test_a_followed_stream_breaks_its_silence_and_ends_with_its_reader(door: Door) -> None:
    running = asyncio.all_tasks()
    await door.post(DECIDE, plan_json(), door.credential(Role.AGENT))
    headers = {**door.credential(Role.AUDITOR), "Last-Event-ID": str(len(door.api.log.stored) - 2)}
    async with (
        door.asked("/api/v1/AuditService/StreamEvents", b'{"follow": true}', headers) as answer,
        asyncio.timeout(SECONDS),
    ):
        assert await line_of(answer, b": nothing new")
        await door.post(DECIDE, plan_json(), door.credential(Role.AGENT))
        assert await line_of(answer, b"id: ")
    reading = {task for task in asyncio.all_tasks() - running if task.get_name() == "read a call's answers"}
    if reading:
        assert not (await asyncio.wait(reading, timeout=SECONDS))[1]


async def line_of(answer: aiohttp.ClientResponse, beginning: bytes) -> bytes:
    """Return the next line that begins so; an empty one where the stream ends before."""
    async for line in answer.content:
        if line.startswith(beginning):
            return line
    return b""


@pytest.mark.parametrize("last", ["", "x", "-1", "1e3", "9" * 30, "\u0661"])
async def test_a_stream_goes_on_behind_places_only(door: Door, last: str) -> None:
    headers = {**door.credential(Role.AUDITOR), "Last-Event-ID": last}
    status, found = await door.post("AuditService/StreamEvents", b"{}", headers)
    assert (status, field(found)) == (400, "last-event-id")


async def test_a_call_that_reads_no_log_is_not_resumed(door: Door) -> None:
    headers = {**door.credential(Role.AUDITOR), "Last-Event-ID": "1"}
    status, found = await door.post("ReplayService/WatchReplay", b'{"replayId": "x"}', headers)
    assert (status, field(found)) == (400, "last-event-id")


async def test_a_stream_that_fails_at_once_is_an_error_and_later_an_event(door: Door) -> None:
    headers = door.credential(Role.AUDITOR)
    status, found = await door.post("AuditService/StreamEvents", b'{"fromIndex": "-1"}', headers)
    assert (status, field(found)) == (400, "from_index")
    assert (await door.post("ApprovalService/Wait", b'{"approvalId": "apr-none"}', headers))[0] in (400, 404)
    follow = {**headers, "Grpc-Timeout": "200m"}
    await door.post(DECIDE, plan_json(), door.credential(Role.AGENT))
    async with door.asked("/api/v1/AuditService/StreamEvents", b'{"follow": true}', follow) as answer:
        async with asyncio.timeout(SECONDS):
            last = [part for part in events(await answer.text()) if part][-1]
    assert (last["event"], reason(json.loads(last["data"]))) == ("error", "ENGINE_UNAVAILABLE")


async def test_a_reader_that_takes_nothing_makes_nobody_read_ahead() -> None:
    given = []

    async def answers() -> AsyncGenerator[Message]:
        for number in range(1000):
            given.append(number)
            yield StreamEventsResponse(event=Event(log_index=number))

    stream = await beginning(answers(), pace=Pace(), places=True)
    frames = aiter(stream.body_iterator)
    assert str(await anext(frames)).startswith("id: 0\n")
    for _ in range(50):
        await asyncio.sleep(0)
    # One is in hand, one waits to be taken, one waits for its place.
    assert len(given) <= 3
    await stream.feed.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_a_reader_that_takes_nothing_for_long_gives_back_what_the_call_holds(version: str) -> None:
    ended = asyncio.Event()

    async def answers() -> AsyncGenerator[Message]:
        try:
            while True:
                yield StreamEventsResponse(event=Event(log_index=1))
        finally:
            ended.set()

    async def stuck(_message: MutableMapping[str, Any]) -> None:
        await asyncio.Event().wait()

    async def silent() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    stream = await beginning(answers(), pace=Pace(stalled=0.05), places=True)
    async with asyncio.timeout(SECONDS):
        await stream({"type": "http", "asgi": {"spec_version": version}}, silent, stuck)
    assert ended.is_set()
