"""One plan that is split into many: what it may use together is what it may use at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aisecops.v1 import decision_pb2
from aisecops_client import PlanBuilder

from tests.fakes.charging_engine import Limit
from tests.fakes.clock import FakeClock
from tests.scenes.budgets.budget_server import AGENT, serving

pytestmark = pytest.mark.asyncio

PIECES, LIMIT = 50, 20
LIMITS = (Limit("agent", "calls", "day", LIMIT), Limit("session", "calls", "session", 1_000))


def plan(steps: int, *, session: str, trace: str = "") -> PlanBuilder:
    builder = PlanBuilder(intent="write to every customer", session_id=session, trace_id=trace)
    for _ in range(steps):
        builder.step("mail/send", {"to": "customer"})
    return builder


async def test_fifty_plans_of_one_call_are_allowed_no_more_than_one_plan_of_fifty(tmp_path: Path) -> None:
    async with serving(tmp_path, LIMITS, clock=FakeClock()) as api, api.client() as agent:
        whole = await agent.decide(plan(PIECES, session="one"))
        assert whole.decision.outcome == decision_pb2.OUTCOME_DENY
        pieces = [await agent.decide(plan(1, session=f"session-{at}")) for at in range(PIECES)]
        assert [piece.allowed for piece in pieces] == [True] * LIMIT + [False] * (PIECES - LIMIT)


async def test_pieces_that_are_asked_at_once_by_many_connections_share_what_there_is(tmp_path: Path) -> None:
    async with serving(tmp_path, LIMITS, clock=FakeClock()) as api:

        async def piece(at: int) -> bool:
            async with api.client(subject=AGENT) as agent:
                return (await agent.decide(plan(1, session=f"s-{at}"))).allowed

        assert sum(await asyncio.gather(*(piece(at) for at in range(PIECES)))) == LIMIT
