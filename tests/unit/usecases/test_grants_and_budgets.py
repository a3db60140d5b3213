"""The end of a grant settles what was reserved for its step, in one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.domain.budgets.budget import Budget, BudgetState, Counter
from aisecops_server.domain.errors import GrantNotUsableError
from aisecops_server.domain.grants.execution import ExecutionCost, ExecutionOutcome
from aisecops_server.usecases.budgets.budgets import BudgetControl
from aisecops_server.usecases.decisions.decide import Decide
from aisecops_server.usecases.grants.issue_grants import GrantControl

from tests.fakes.charging_engine import ChargingEngine, Limit
from tests.scenes.budgets.books import problems
from tests.scenes.grants.grant_keys import grant_key
from tests.scenes.grants.granting import AGENT, GRANT_SECONDS, IDS, REPORT_SECONDS, Workshop, step

CALLS = Budget.named(f"agent:{AGENT.id}/calls/day")
TOKENS = Budget.named(f"agent:{AGENT.id}/tokens/day")
LIMITS = (Limit("agent", "calls", "day", 5), Limit("agent", "tokens", "day", 100, per_step=10))


@dataclass
class BudgetedWorkshop(Workshop):
    """The use cases of grants where limits are charged."""

    def __post_init__(self) -> None:
        super().__post_init__()
        controls = (
            BudgetControl(self.log.budgets, IDS, GRANT_SECONDS + REPORT_SECONDS + 60),
            GrantControl(IDS, GRANT_SECONDS, REPORT_SECONDS),
        )
        engine = ChargingEngine(limits=LIMITS)
        self._decide = Decide(engine, self.log, self.clock, IDS, deadline_seconds=1.0, controls=controls)

    async def state(self, budget: Budget) -> BudgetState:
        return await self.log.budgets.budget(budget, now_seconds=self.clock.now_ns() // 10**9)

    async def counter(self, budget: Budget) -> Counter:
        return (await self.state(budget)).counter


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[BudgetedWorkshop]:
    path = tmp_path / "audit.db"
    log = open_log(path, LogOptions(minimum_free_bytes=0))
    yield BudgetedWorkshop(log, grant_key(tmp_path))
    assert (await log.verify()).problem == ""
    await log.close()
    assert problems(path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("outcome", list(ExecutionOutcome))
async def test_a_completion_settles_its_step_and_no_other(shop: BudgetedWorkshop, outcome: ExecutionOutcome) -> None:
    first, _ = await shop.granted(step(to="ada"), step(id="s2", to="bob"))
    await shop.redeem(first)
    await shop.complete(first, outcome=outcome)
    assert await shop.counter(CALLS) == Counter(used=1, reserved=1)
    assert await shop.counter(TOKENS) == Counter(used=10, reserved=10)
    # The same report once more changes nothing.
    await shop.complete(first, outcome=outcome)
    assert await shop.counter(CALLS) == Counter(used=1, reserved=1)


@pytest.mark.asyncio
async def test_what_an_agent_reports_can_only_raise(shop: BudgetedWorkshop) -> None:
    (signed,) = await shop.granted()
    await shop.redeem(signed)
    await shop.complete(signed, cost=ExecutionCost(tokens=3))
    assert await shop.counter(TOKENS) == Counter(used=10)
    (signed,) = await shop.granted()
    await shop.redeem(signed)
    await shop.complete(signed, cost=ExecutionCost(tokens=25))
    assert await shop.counter(TOKENS) == Counter(used=35, overrun=15)
    assert (await shop.state(TOKENS)).frozen


@pytest.mark.asyncio
async def test_silence_is_charged_when_the_grant_is_given_up(shop: BudgetedWorkshop) -> None:
    await shop.granted(step(to="ada"), step(id="s2", to="bob"))
    shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS)
    assert await shop.expire() == 2
    assert await shop.counter(CALLS) == Counter(used=2)
    assert await shop.counter(TOKENS) == Counter(used=20)


@pytest.mark.asyncio
async def test_a_report_that_comes_too_late_is_refused_and_still_charged(shop: BudgetedWorkshop) -> None:
    (signed,) = await shop.granted()
    shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS)
    await shop.expire()
    for _ in range(2):
        with pytest.raises(GrantNotUsableError):
            await shop.complete(signed, cost=ExecutionCost(tokens=25))
    assert await shop.counter(TOKENS) == Counter(used=25, overrun=15)
