"""What streams remember is bounded over all of them, and given back when they end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aisecops.v1.decision_service_pb2 import SessionRequest, SessionResponse
from aisecops.v1.plan_pb2 import ExecutionPlan, Step
from aisecops.v1.provenance_pb2 import SOURCE_KIND_TOOL_RESULT, Source
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.callers.identity import Presented, Principal, PrincipalId, Role
from aisecops_server.domain.tenants.fair_queue import FairQueue
from aisecops_server.entrypoints.grpc.admission import Admission, WorkQueue
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_service import DecisionService, session_room
from aisecops_server.entrypoints.grpc.methods import Gate
from aisecops_server.usecases.decisions.decide import Decide, Decided
from aisecops_server.usecases.decisions.explain import Explain
from aisecops_server.usecases.grants.issue_grants import SignedGrant

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog
from tests.fakes.policy_engine import FakeEngine

KIBIBYTES = 64
PRINCIPAL = Principal(PrincipalId("agent"), "token", frozenset({Role.AGENT}))
CALLER = Caller(PRINCIPAL, Presented(), 10.0, "/aisecops.v1.DecisionService/Session")


class AnyCredential:
    """Lets everybody in: who may call is not what is tested here."""

    def authenticate(self, presented: Presented) -> Principal:
        del presented
        return CALLER.principal


def service(room: Admission) -> DecisionService:
    engine, log, ids = FakeEngine(), MemoryEventLog(), RandomIds()
    decide = Decide(engine, log, FakeClock(), ids, deadline_seconds=1.0)
    explain = Explain(engine, log, deadline_seconds=1.0)
    work = WorkQueue(FairQueue(8, 16, 60.0), lambda _: "tenant")
    gate = Gate(AnyCredential(), lambda _: None)
    return DecisionService(decide, explain, ids, work, gate, no_grants, no_signature, room)


def no_signature(_receipt: object) -> str:
    return ""


async def no_grants(_decided: Decided, _holder: Principal) -> tuple[SignedGrant, ...]:
    return ()


async def messages(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        page = Source(source_id=f"p{number}", kind=SOURCE_KIND_TOOL_RESULT, content=b"x" * 10 * 1024)
        step = Step(step_id=f"s{number}", tool="mail/read", arguments_json=b"{}")
        yield SessionRequest(
            correlation_id=str(number), plan=ExecutionPlan(steps=[step], sources=[page])
        ).SerializeToString()


@pytest.mark.asyncio
async def test_a_stream_that_remembers_more_than_its_share_is_told_and_frees_it_at_its_end() -> None:
    room = session_room(KIBIBYTES)
    answers: list[SessionResponse] = [answer async for answer in service(room).session(messages(4), CALLER)]
    assert [answer.error.reason for answer in answers] == ["", "", "OVERLOADED", "OVERLOADED"]
    assert "sessions" in answers[-1].error.message
    assert room.in_flight == 0


@pytest.mark.asyncio
async def test_two_streams_share_what_one_caller_may_hold() -> None:
    room = session_room(KIBIBYTES)
    held = service(room).session(messages(3), CALLER)
    first = [await anext(held), await anext(held)]
    (other,) = [answer async for answer in service(room).session(messages(1), CALLER)]
    assert [answer.error.reason for answer in (*first, other)] == ["", "", "OVERLOADED"]
    await held.aclose()
    assert room.in_flight == 0
