"""Every call, asked by one tenant for what is another's: nothing of it comes back, not even that it is there."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL
from aisecops_server.entrypoints.grpc.server import MAX_RESPONSE_BYTES
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from tests.scenes.planes.tenants import AGENT, BANK, SHOP, House, house_in, house_on, open_house, refund

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(900)]

SECRET = "crown-jewels-of-the-shop"
SECONDS = 4.0
MOST_ANSWERS = 50
DEPTH = 2
# Which of the shop's names goes into a field, by what the field is called. Order counts: the first that fits.
NAMES = (
    ("trace", "trace"),
    ("decision", "decision"),
    ("event", "event"),
    ("plan_id", "plan"),
    ("session", "session"),
    ("revision|commit|base|candidate|good|bad|ref", "revision"),
    ("path", "path"),
    ("agent", "agent"),
    ("^format$", "format"),
    ("^reason$", "reason"),
    ("approval_id", "approval"),
    ("replay_id", "replay"),
    ("grant_id", "grant"),
    ("^name$", "budget"),
)


@dataclass(frozen=True)
class Names:
    """What a tenant's things are called."""

    trace: str
    decision: str
    event: str
    plan: str
    session: str
    revision: str
    path: str = "data/modes.yaml"
    agent: str = AGENT
    format: str = "ndjson"
    reason: str = "to see what is there"
    approval: str = "apr-0199f2c4a1b7e5d00b"
    replay: str = "rpl-0199f2c4a1b7e5d0"
    grant: str = "grt-0199f2c4a1b7e5d00b"
    budget: str = f"agent:{AGENT}/calls/day"

    def secrets(self) -> tuple[str, ...]:
        """Return what only the shop knows; the last two are nothing that a request would name."""
        return (self.trace, self.decision, self.event, self.plan, self.revision, SECRET, f"Of the {SHOP}")


NOBODYS = Names("0" * 31 + "1", "dec-0199f2c4a1b71f0c8a", "evt-0199f2c4a1b71f0c8b", "plan-none", "s-none", "1" * 40)


@pytest.fixture(params=["files", "a database"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    """A house whose tenants' logs are in files, and one where they are in one database."""
    return house_in(tmp_path) if request.param == "files" else house_on(request.getfixturevalue("postgres"), tmp_path)


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    """Yield every call; what puts the caller's words on record comes last, because those are its own from then on."""
    for call in sorted(ROLES_OF_CALL, key=lambda call: (_records(call), call)):
        service, _, name = call[1:].partition("/")
        yield call, descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]


def _records(call: str) -> bool:
    return "DecisionService" in call or "ScreenService" in call


def filled(kind: Descriptor, names: Names, depth: int = 0) -> Any:
    """Return a request with the names wherever one fits."""
    message = message_factory.GetMessageClass(kind)()
    for field in kind.fields:
        repeated = field.is_repeated
        if field.type == FieldDescriptor.TYPE_STRING:
            found = next((getattr(names, name) for word, name in NAMES if re.search(word, field.name)), "")
            if found and repeated:
                getattr(message, field.name).append(found)
            elif found and field.containing_oneof is None:
                setattr(message, field.name, found)
        elif field.type == FieldDescriptor.TYPE_ENUM and not repeated:
            setattr(message, field.name, 1)
        elif _is_single_of_ours(field) and depth < DEPTH:
            getattr(message, field.name).CopyFrom(filled(field.message_type, names, depth + 1))
    return message


def _is_single_of_ours(field: FieldDescriptor) -> bool:
    return (
        field.type == FieldDescriptor.TYPE_MESSAGE
        and not field.is_repeated
        and field.containing_oneof is None
        and field.message_type.file.package == "aisecops.v1"
    )


async def answers(channel: grpc.aio.Channel, call: str, method: MethodDescriptor, request: bytes, token: str) -> Any:
    """Return everything that a call gives in a short time, and how it ended, both as bytes and words."""
    kind = ("stream" if method.client_streaming else "unary") + "_" + ("stream" if method.server_streaming else "unary")
    made = getattr(channel, kind)(call)
    given = _stream(request) if method.client_streaming else request
    under_way = made(given, metadata=(("authorization", f"Bearer {token}"),), timeout=SECONDS)
    got: list[bytes] = []
    try:
        if method.server_streaming:
            async for answer in under_way:
                got.append(answer)
                if len(got) >= MOST_ANSWERS:
                    under_way.cancel()
        else:
            got.append(await under_way)
    except grpc.aio.AioRpcError as error:
        return got, (error.code().name, error.details() or "", bytes(str(error.trailing_metadata()), "utf-8"))
    except asyncio.CancelledError:
        if not under_way.cancelled():
            raise
    return got, ("OK", "", b"")


async def _stream(request: bytes) -> Any:
    yield request


async def made_by_the_shop(house: House) -> Names:
    async with house.client(of=SHOP) as client:
        plan = refund(f"Refund order o-77 of customer c-12 with 50 EUR, {SECRET}")
        decision = (await client.decide(plan)).decision
    trace = await house.planes[SHOP].log.trace(decision.trace_id)
    first = trace.events[0].event
    return Names(
        decision.trace_id,
        decision.decision_id,
        first.id,
        decision.plan_id,
        "s-1",
        house.remotes[SHOP].head(),
    )


def shown(ended: Sequence[Any], names: Names) -> tuple[str, str]:
    """Return how a call ended, with the names taken out that the caller gave itself."""
    words = str(ended[1])
    if ended[0] == grpc.StatusCode.DEADLINE_EXCEEDED.name:  # the client library's own words, of which it has two
        words = words.removeprefix("Stream removed (").removesuffix(")")
    for name in sorted({*names.secrets(), names.agent, names.path, names.revision[:8]}, key=len, reverse=True):
        words = words.replace(name, "NAME")
    return str(ended[0]), words


async def test_no_call_gives_one_tenant_anything_of_another(made: House) -> None:
    async with open_house(made) as house:
        names = await made_by_the_shop(house)
        spy = house.token(*Role, subject="ann@bank.example", tenants=(BANK,))
        own = house.token(*Role, subject="ben@shop.example", tenants=(SHOP,))
        options = [("grpc.default_authority", "localhost"), ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES)]
        seen_by_its_own: set[str] = set()
        async with grpc.aio.insecure_channel(f"unix:{house.settings.socket}", options=options) as channel:
            for call, method in methods():
                asked = filled(method.input_type, names).SerializeToString()
                got, ended = await answers(channel, call, method, asked, spy)
                for secret in names.secrets()[-2:] if _records(call) else names.secrets():
                    # The caller's own words may come back in what it is told of them, and nowhere else.
                    assert not _holds(got, secret, asked), f"{call} gave {secret}"
                strange = filled(method.input_type, NOBODYS).SerializeToString()
                _, other = await answers(channel, call, method, strange, spy)
                assert shown(ended, names) == shown(other, NOBODYS), f"{call} tells that there is one"
                mine, _ = await answers(channel, call, method, asked, own)
                if any(_holds(mine, secret, b"") for secret in names.secrets()):
                    seen_by_its_own.add(call.rpartition("/")[2])
        # The same questions, asked by the shop itself, are answered: the test could fail.
        assert {"GetTrace", "ListTraces", "Explain", "GetRevision", "ListRevisions", "GetStatus"} <= seen_by_its_own
        assert {"ExportEvents", "ExportTraces", "GetGovernanceDiff", "GetExecutionGraph"} <= seen_by_its_own


def _holds(got: Sequence[bytes], secret: str, asked: bytes) -> bool:
    sought = secret.encode()
    # What a tenant's own people asked for stands in its own log as the subject of a read.
    said = (answer.replace(b'"subject":"' + sought + b'"', b"") for answer in got)
    return sought not in asked and any(sought in answer for answer in said)


async def test_the_json_ways_in_are_as_closed(tmp_path: Path) -> None:
    async with open_house(house_in(tmp_path)) as house:
        names = await made_by_the_shop(house)
        connector = aiohttp.UnixConnector(path=str(house.settings.socket.with_suffix(".http")))
        async with aiohttp.ClientSession(connector=connector) as session:

            async def asked(trace: str, tenants: tuple[str, ...], tenant: str = "") -> tuple[int, str]:
                token = house.token(Role.AUDITOR, subject="a@corp.example", tenants=tenants)
                headers = {"Authorization": f"Bearer {token}", **({"aisecops-tenant": tenant} if tenant else {})}
                address = "http://localhost/aisecops.v1.AuditService/GetTrace"
                async with session.post(address, json={"traceId": trace}, headers=headers) as answer:
                    return answer.status, (await answer.text()).replace(trace, "TRACE")

            status, answer = await asked(names.trace, (SHOP,))
            assert (status, SECRET in answer) == (200, True)
            assert await asked(names.trace, (BANK,)) == await asked(NOBODYS.trace, (BANK,))
            assert (await asked(names.trace, (BANK,)))[0] == 404
            refused = await asked(names.trace, (BANK,), SHOP)
            assert (refused[0], json.loads(refused[1])["reason"]) == (404, "NOT_FOUND")
            assert await asked(names.trace, (SHOP, BANK), SHOP) == await asked(names.trace, (SHOP,))
