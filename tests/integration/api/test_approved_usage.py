"""What models used before a plan is counted once, however often people make the agent ask again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aisecops.v1 import decision_pb2
from aisecops_client import AsyncClient, Client, PlanBuilder
from aisecops_client.budgets import Budgets
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import AGENT, running, settings_in
from tests.integration.api.test_approvals import ADA, answered, people, refund
from tests.integration.api.test_policy_by_commit import change

pytestmark = pytest.mark.asyncio

DAY = f"agent:{AGENT}/tokens/day"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


def costly(tokens: int, *, output: int = 0) -> PlanBuilder:
    plan = refund()
    plan.model_usage("large", input_tokens=tokens, output_tokens=output)
    return plan


async def limit_tokens(plane: ControlPlane, limit: int = 1_000_000) -> None:
    await change(plane, "budgets", lambda held: held["profiles"]["service"].update(limits={"day": {"tokens": limit}}))


async def used(settings: Settings) -> int:
    """Return what of the agent's tokens is used, as an auditor reads it."""
    token = issuer(settings).mint("auditor@corp.example", (Role.AUDITOR,))

    def read() -> int:
        with Client.connect(f"unix:{settings.socket}", token) as client:
            [found] = [budget for budget in Budgets(client).page(metric="tokens").budgets if budget.name == DAY]
            return found.used

    return await asyncio.to_thread(read)


async def asked_and_granted(agent: AsyncClient, ada: AsyncClient, plan: PlanBuilder, approval_id: str = "") -> str:
    answer = await agent.decide(plan, approval_id=approval_id)
    assert answer.waits_for_people
    await answered(ada, answer.approval_id)
    return answer.approval_id


async def test_asking_again_with_the_approval_counts_nothing_twice(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        await limit_tokens(plane)
        approval_id = await asked_and_granted(agent, ada, costly(12_000, output=800))
        assert await used(settings) == 12_800
        answer = await agent.decide(costly(12_000, output=800), approval_id=approval_id)
        assert answer.allowed
        assert await used(settings) == 12_800
        assert (await ada.explain(answer.decision.decision_id)).replay.reproduced


async def test_what_was_used_since_is_added_and_less_lowers_nothing(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        await limit_tokens(plane)
        approval_id = await asked_and_granted(agent, ada, costly(1_000))
        more = costly(1_500)
        more.model_usage("small", input_tokens=70)
        assert (await agent.decide(more, approval_id=approval_id)).allowed
        assert await used(settings) == 1_570
        approval_id = await asked_and_granted(agent, ada, costly(1_000))
        assert (await agent.decide(costly(10), approval_id=approval_id)).allowed
        assert await used(settings) == 2_570


async def test_a_request_that_policy_opens_anew_still_knows_what_was_counted(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        await limit_tokens(plane, 10_000)
        first = await asked_and_granted(agent, ada, costly(1_000))
        # That a budget is nearly used up is a demand which the people of the first request did not see.
        await change(plane, "budgets", lambda held: held.update(approval_percent=5))
        second = await asked_and_granted(agent, ada, costly(1_200), first)
        assert second != first
        answer = await agent.decide(costly(1_100), approval_id=second)
        assert answer.allowed
        assert await used(settings) == 1_200


async def test_what_was_counted_does_not_take_the_room_of_the_approved_plan(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        await limit_tokens(plane, 15_000)
        approval_id = await asked_and_granted(agent, ada, costly(12_800))
        answer = await agent.decide(costly(12_800), approval_id=approval_id)
        assert answer.decision.outcome == decision_pb2.OUTCOME_ALLOW


async def test_without_the_approval_each_report_counts(settings: Settings) -> None:
    async with running(settings) as (plane, agent):
        await limit_tokens(plane)
        await agent.decide(costly(1_000))
        await agent.decide(costly(1_000))
        assert await used(settings) == 2_000
