"""How many requests wait, as it changes: for sessions, so many at once, until the session or its credential ends."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from aisecops.v1.approval_service_pb2 import WatchWaitingResponse
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.callers.identity import Presented, Role
from aisecops_server.entrypoints.web.live import MOST_OF_SESSION, until
from aisecops_server.entrypoints.web.sessions import MOST_SESSIONS, Sessions
from google.protobuf.message import Message

from tests.integration.web.test_approvals import form_of, page, send
from tests.scenes.approvals.requests import APPROVER, asked
from tests.scenes.planes import engines
from tests.scenes.planes.ui_scene import Scene

SECONDS = 30
AGENT = "spiffe://corp.example/agent/support-assistant"


@dataclass
class Listener:
    """One connection that listens."""

    answer: http.client.HTTPResponse

    def frames(self) -> Iterator[tuple[str, str]]:
        kind = ""
        for line in iter(self.answer.readline, b""):
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, value

    def hears(self) -> int:
        kind, data = next(self.frames())
        assert kind == "message", (kind, data)
        return int(json.loads(data)["waiting"])

    def rest(self) -> list[tuple[str, str]]:
        return list(self.frames())


@contextmanager
def listening(scene: Scene, cookie: str, path: str = "/waiting", **headers: str) -> Iterator[Listener]:
    connection = http.client.HTTPConnection(scene.address, timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Cookie": cookie, **headers})
        yield Listener(connection.getresponse())
    finally:
        connection.close()


def waiting(scene: Scene) -> int:
    return len(json.loads(scene.get("/approvals.json?state=requested")[2])["page"]["approvals"])


def test_who_listens_hears_the_number_and_every_change_of_it(scene: Scene) -> None:
    cookie = scene.cookie(Role.SECOPS, subject=APPROVER)
    with listening(scene, cookie) as one:
        assert (one.answer.status, one.answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert "content-encoding" not in one.answer.headers
        before = waiting(scene)
        assert one.hears() == before
        approval = scene.run(asked(scene, version="20.1"))
        assert one.hears() == before + 1
        form = form_of(page(scene, f"/approvals/{approval}", cookie))
        assert send(scene, approval, cookie, form | {"choice": "deny"})[0] == 303
        assert one.hears() == before


def test_signing_out_ends_what_the_session_listens_to_and_nothing_else(scene: Scene) -> None:
    cookie, other = (scene.cookie(Role.SECOPS, subject=APPROVER) for _ in range(2))
    with listening(scene, cookie) as one, listening(scene, other) as another:
        before = one.hears()
        assert another.hears() == before
        key = page(scene, "/approvals", cookie).partition('action="/sign-out"><input type="hidden" name="key" value="')
        form = {"key": key[2].partition('"')[0]}
        assert scene.ask("POST", "/sign-out", headers={"Cookie": cookie}, form=form)[0] == 303
        assert one.rest() == [("end", "{}")]
        scene.run(asked(scene, version="20.2"))
        assert another.hears() == before + 1
    with listening(scene, cookie) as again:
        assert again.answer.status == 401


def test_a_session_listens_a_few_times_at_once_and_a_place_that_is_left_is_free(scene: Scene) -> None:
    cookie = scene.cookie(Role.SECOPS, subject=APPROVER)
    with ExitStack() as held:
        for _ in range(MOST_OF_SESSION):
            assert held.enter_context(listening(scene, cookie)).hears() >= 0
        with listening(scene, cookie) as too_many:
            assert (too_many.answer.status, b"too many pages listen" in too_many.answer.read()) == (429, True)
        # Somebody else is not held up by it.
        with listening(scene, scene.cookie(Role.SECOPS, subject=APPROVER)) as another:
            assert another.hears() >= 0

    def heard() -> bool:
        with listening(scene, cookie) as one:
            return one.answer.status == 200

    # The server hears a moment later that a connection is gone.
    assert any(heard() for _ in range(500))


def test_only_a_session_that_may_read_listens_and_only_to_pages_of_its_own(scene: Scene) -> None:
    cookie = scene.cookie(Role.SECOPS, subject=APPROVER)
    assert scene.ask("GET", "/waiting")[0] == 401
    assert scene.get("/waiting")[0] == 401
    assert scene.ask("HEAD", "/waiting", headers={"Cookie": cookie})[0] == 401
    assert scene.ask("GET", "/waiting", headers={"Cookie": scene.cookie(Role.AGENT, subject=AGENT)})[0] == 403
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        assert scene.ask("GET", "/waiting", headers={"Cookie": cookie, **foreign})[0] == 403


async def asked_and_withdrawn(scene: Scene) -> None:
    approval = await asked(scene, version="21.1")
    async with scene.client(Role.SECOPS, subject=APPROVER) as client:
        await client.approvals.withdraw(approval)


def test_a_credential_that_ends_ends_it(scene: Scene) -> None:
    form = {"token": scene.token(Role.SECOPS, subject=APPROVER, seconds=3)}
    _, headers, _ = scene.ask("POST", "/sign-in", form=form)
    with listening(scene, headers["set-cookie"].partition(";")[0]) as one:
        assert one.hears() >= 0
        told = ("message", "")
        # Whatever wakes it, it is asked again whether it may still.
        for _ in range(1000):
            scene.run(asked_and_withdrawn(scene))
            told = next(one.frames())
            if told[0] != "message":
                break
        assert (told[0], "UNAUTHENTICATED" in told[1]) == ("error", True)


async def _counting(closed: list[str]) -> AsyncGenerator[Message]:
    try:
        yield WatchWaitingResponse(waiting=1)
        await asyncio.Event().wait()
    finally:
        closed.append("closed")


async def _all(answers: AsyncGenerator[Message]) -> list[Message]:
    return [found async for found in answers]


@pytest.mark.asyncio
async def test_what_makes_answers_is_closed_whoever_ends_first() -> None:
    closed: list[str] = []
    over = asyncio.Event()
    told = until(over, _counting(closed))
    assert await anext(told) == WatchWaitingResponse(waiting=1)
    over.set()
    assert await _all(told) == []
    assert closed == ["closed"]
    reader = asyncio.create_task(_all(until(asyncio.Event(), _counting(closed))))
    await engines.until(lambda: len(asyncio.all_tasks()) > 3)
    reader.cancel()
    assert isinstance((await asyncio.gather(reader, return_exceptions=True))[0], asyncio.CancelledError)
    assert closed == ["closed"] * 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.asyncio
async def test_a_session_that_is_pushed_out_or_never_was_has_ended() -> None:
    sessions = Sessions(RandomIds())
    with sessions.ending("never") as never:
        assert never.is_set()
    oldest = sessions.begin(Presented(token="a"))
    with sessions.ending(oldest.id) as over, sessions.ending(oldest.id) as twice:
        for _ in range(MOST_SESSIONS - 1):
            sessions.begin(Presented(token="b"))
        assert not over.is_set()
        last = sessions.begin(Presented(token="c"))
        assert (over.is_set(), twice.is_set(), sessions.find(oldest.id)) == (True, True, None)
    with sessions.ending(last.id) as over:
        sessions.end_all()
        assert over.is_set()


def events_of(scene: Scene, trace: str) -> list[tuple[int, str]]:
    found = json.loads(scene.get(f"/traces/{trace}.json")[2])["trace"]["events"]
    return [(int(one["logIndex"]), one["eventId"]) for one in found]


def heard(listener: Listener, count: int) -> list[tuple[int, str]]:
    frames = [next(listener.frames()) for _ in range(count)]
    told = [json.loads(data)["event"] for kind, data in frames if kind == "message"]
    # What they tell is on the page, and stays there.
    assert {part for one in told for part, value in one.items() if value} <= {"logIndex", "eventId", "type", "stage"}
    return [(int(one["logIndex"]), one["eventId"]) for one in told]


def test_who_looks_at_a_trace_hears_of_its_events_and_goes_on_behind_the_last(scene: Scene) -> None:
    cookie, trace = scene.cookie(Role.AUDITOR, subject=APPROVER), "c" * 32
    scene.run(asked(scene, version="30.1", trace=trace))
    before = events_of(scene, trace)
    path = f"/traces/{trace}/live?after={before[-1][0]}"
    with listening(scene, cookie, path) as one:
        assert one.answer.status == 200
        scene.run(asked(scene, version="30.2", trace="d" * 32))
        scene.run(asked(scene, version="30.3", trace=trace))
        came = events_of(scene, trace)[len(before) :]
        assert heard(one, len(came)) == came
    with listening(scene, cookie, path, **{"Last-Event-ID": str(came[0][0])}) as again:
        assert heard(again, len(came) - 1) == came[1:]


@pytest.mark.parametrize("after", ["-1", "x", "1e3", "9" * 40, "1&after=2"])
def test_where_it_goes_on_is_a_place_in_the_log(scene: Scene, after: str) -> None:
    with listening(scene, scene.cookie(), f"/traces/{'c' * 32}/live?after={after}") as refused:
        assert refused.answer.status == 400


def test_only_who_may_read_a_trace_hears_of_it(scene: Scene) -> None:
    path = f"/traces/{'c' * 32}/live"
    assert scene.ask("GET", path)[0] == 401
    assert scene.get(path)[0] == 401
    assert scene.ask("GET", path, headers={"Cookie": scene.cookie(Role.AGENT, subject=AGENT)})[0] == 403
    elsewhere = {"Cookie": scene.cookie(), "Sec-Fetch-Site": "cross-site"}
    assert scene.ask("GET", path, headers=elsewhere)[0] == 403
    assert scene.ask("GET", "/traces/everything/live", headers={"Cookie": scene.cookie()})[0] == 400
