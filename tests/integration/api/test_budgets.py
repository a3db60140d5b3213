"""BudgetService over a real connection and a real store: who sees which figures, and who may change them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from aisecops.v1 import budget_pb2
from aisecops_client import AccessRefusedError, AsyncClient, NotFoundError, PlanBuilder, RequestRefusedError
from aisecops_client.budgets import Budgets
from aisecops_client.errors import AisecopsClientError
from aisecops_server.domain.budgets.budget import Metric
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.log.record import ChangeRecord

from tests.fakes.charging_engine import Limit
from tests.fakes.clock import FakeClock
from tests.scenes.budgets.budget_server import AGENT, BudgetApi, serving

T = TypeVar("T")
DAY = f"agent:{AGENT}/calls/day"
TOKENS = f"agent:{AGENT}/tokens/day"
LIMITS = (
    Limit("agent", "calls", "day", 5),
    Limit("session", "calls", "session", 100),
    Limit("team", "calls", "day", 9),
)
CLOCK = FakeClock()


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[BudgetApi]:
    async with serving(tmp_path, LIMITS, clock=CLOCK) as running:
        yield running


def plan(steps: int = 1, *, tokens: int = 0) -> PlanBuilder:
    builder = PlanBuilder(intent="read mail", session_id="s-1")
    for _ in range(steps):
        builder.step("mail/read", {})
    if tokens:
        builder.model_usage("m-1", input_tokens=tokens)
    return builder


async def ask(api: BudgetApi, question: Callable[[Budgets], T], *roles: Role, subject: str = AGENT) -> T:
    """Ask with the blocking client, beside the loop that serves it."""

    def asked() -> T:
        with ExitStack() as stack:
            return question(Budgets(stack.enter_context(api.blocking(*roles, subject=subject))))

    return await asyncio.to_thread(asked)


async def decided(client: AsyncClient, steps: int = 1, **facts: Any) -> Any:
    return (await client.decide(plan(steps, **facts))).decision


@pytest.mark.asyncio
async def test_a_decision_says_what_it_takes_and_a_denial_what_was_left(api: BudgetApi) -> None:
    async with api.client() as client:
        await decided(client, 3)
        denied = await decided(client, 3)
    assert denied.outcome == 2
    (use,) = [use for use in denied.budgets if use.name == DAY]
    assert (use.amount, use.limit, use.used, use.reserved, use.enforced) == (3, 5, 0, 3, True)
    assert use.resets_at.seconds % 86_400 == 0
    assert use.resets_at.seconds > CLOCK.now_ns() // 10**9


@pytest.mark.asyncio
async def test_a_dry_run_shows_the_budgets_and_takes_nothing(api: BudgetApi) -> None:
    async with api.client() as client:
        tried = (await client.dry_run(plan(2))).decision
    assert [use.amount for use in tried.budgets] == [2, 2, 2]
    page = await ask(api, lambda budgets: budgets.page(), Role.AUDITOR)
    assert len(page.budgets) == 0


@pytest.mark.asyncio
async def test_readers_see_every_budget_page_by_page_and_narrowed(api: BudgetApi) -> None:
    async with api.client() as client:
        await decided(client, 2)
    for role in (Role.AUDITOR, Role.SECOPS, Role.SECURITY, Role.PLATFORM):
        first = await ask(api, lambda budgets: budgets.page(page_size=2), role)
        token = first.next_page_token
        rest = await ask(api, lambda budgets: budgets.page(page_size=2, page_token=token), role)  # noqa: B023
        assert [budget.name for budget in (*first.budgets, *rest.budgets)] == [
            DAY,
            f"session:{AGENT}#s-1/calls/session",
            "team:support/calls/day",
        ]
        assert rest.next_page_token == ""
    team = await ask(api, lambda budgets: budgets.page(subject="team", metric="calls"), Role.AUDITOR)
    assert [budget.subject_id for budget in team.budgets] == ["support"]
    budget = await ask(api, lambda budgets: budgets.budget(DAY), Role.AUDITOR)
    assert (budget.limit, budget.used, budget.reserved, budget.remaining, budget.frozen) == (5, 0, 2, 3, False)


@pytest.mark.asyncio
@pytest.mark.parametrize("role", [Role.AGENT, Role.APP])
async def test_agents_and_applications_see_their_own_budgets_and_cannot_tell_others_from_none(
    api: BudgetApi, role: Role
) -> None:
    async with api.client() as client:
        await decided(client)
    own = await ask(api, lambda budgets: budgets.page(), role)
    assert [budget.subject for budget in own.budgets] == ["agent", "session"]
    assert (await ask(api, lambda budgets: budgets.history(DAY), role)).budget.reserved == 1
    # A name that begins like another's is another name.
    for stranger in ("spiffe://example.org/agent/supp", f"{AGENT}/calls"):
        page = await ask(api, lambda budgets: budgets.page(), role, subject=stranger)
        assert len(page.budgets) == 0
        for name in (DAY, f"session:{AGENT}#s-1/calls/session", "team:support/calls/day", "team:nobody/calls/day"):
            for question in (lambda budgets: budgets.budget(name), lambda budgets: budgets.history(name)):  # noqa: B023
                with pytest.raises(NotFoundError):
                    await ask(api, question, role, subject=stranger)


@pytest.mark.asyncio
@pytest.mark.parametrize("role", [Role.AGENT, Role.APP, Role.AUDITOR, Role.SECOPS])
async def test_only_security_and_platform_change_a_figure(api: BudgetApi, role: Role) -> None:
    async with api.client() as client:
        decision = await decided(client)
    with pytest.raises(AccessRefusedError):
        await ask(api, lambda budgets: budgets.adjust(DAY, by=-1, reason="mine"), role)
    with pytest.raises(AccessRefusedError):
        await ask(api, lambda budgets: budgets.release(decision.decision_id, reason="mine"), role)
    assert (await ask(api, lambda budgets: budgets.budget(DAY), Role.AUDITOR)).reserved == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("role", [Role.SECURITY, Role.PLATFORM])
async def test_an_adjustment_counts_is_on_record_and_stands_in_the_history(api: BudgetApi, role: Role) -> None:
    async with api.client() as client:
        await decided(client)
    raised = await ask(api, lambda budgets: budgets.adjust(DAY, by=4, reason="it ran elsewhere"), role, subject="ada")
    assert (raised.used, raised.remaining) == (4, 0)
    frozen = await ask(api, lambda budgets: budgets.adjust(DAY, by=-4, frozen=True, reason="look"), role, subject="ada")
    assert (frozen.used, frozen.frozen, frozen.remaining) == (0, True, 0)
    page = await ask(api, lambda budgets: budgets.page(frozen=True), Role.AUDITOR)
    assert [budget.name for budget in page.budgets] == [DAY]
    history = await ask(api, lambda budgets: budgets.history(DAY), Role.AUDITOR)
    assert [(remark.principal, remark.by, remark.freeze, remark.reason) for remark in history.remarks] == [
        ("ada", -4, budget_pb2.FREEZE_ON, "look"),
        ("ada", 4, budget_pb2.FREEZE_UNSPECIFIED, "it ran elsewhere"),
    ]
    events = [stored.event async for stored in api.log.events(from_index=0, follow=False, trace_id="")]
    assert [event.id for event in events if event.type == "budget.adjusted"] == [
        remark.event_id for remark in reversed(history.remarks)
    ]


@pytest.mark.asyncio
async def test_the_history_of_a_budget_tells_of_its_periods_and_overruns(api: BudgetApi) -> None:
    api.engine.limits = (Limit("agent", "tokens", "day", 100, per_step=10),)
    async with api.client() as client:
        decision = await decided(client, tokens=7)
        now = CLOCK.now_ns()
        ended = await api.settlements.of_step(decision.decision_id, "step-1", {Metric.TOKENS: 25}, now_ns=now)
        await api.log.append_change(ChangeRecord(ended.events, ended.changes))
    history = await ask(api, lambda budgets: budgets.history(TOKENS), Role.AUDITOR)
    (period,) = history.periods
    assert (period.used, period.reserved, period.overrun) == (32, 0, 15)
    (remark,) = history.remarks
    assert (remark.type, remark.decision_id, remark.step_id) == ("budget.overrun", decision.decision_id, "step-1")
    assert (remark.reserved, remark.actual, remark.freeze) == (10, 25, budget_pb2.FREEZE_ON)


@pytest.mark.asyncio
async def test_what_did_not_run_is_given_back_by_a_person_who_says_why(api: BudgetApi) -> None:
    async with api.client() as client:
        decision = await decided(client, 3)
    release = ("step-2",)
    part = await ask(
        api,
        lambda budgets: budgets.release(decision.decision_id, step_ids=release, reason="it was stopped"),
        Role.PLATFORM,
    )
    assert (part.state, list(part.open_step_ids)) == ("RESERVED", ["step-1", "step-3"])
    for _ in range(2):
        rest = await ask(api, lambda budgets: budgets.release(decision.decision_id, reason="all of it"), Role.PLATFORM)
        assert (rest.state, list(rest.open_step_ids)) == ("VOID", [])
    budget = await ask(api, lambda budgets: budgets.budget(DAY), Role.AUDITOR)
    assert (budget.used, budget.reserved) == (0, 0)
    known = decision.decision_id
    with pytest.raises(RequestRefusedError):
        await ask(api, lambda budgets: budgets.release(known, step_ids=("step-9",), reason="x"), Role.PLATFORM)
    with pytest.raises(NotFoundError):
        await ask(api, lambda budgets: budgets.release("dec-0", reason="x"), Role.PLATFORM)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "question",
    [
        lambda budgets: budgets.page(subject="king"),
        lambda budgets: budgets.page(metric="love"),
        lambda budgets: budgets.page(window="day' OR 1"),
        lambda budgets: budgets.page(subject_id="x" * 2000),
        lambda budgets: budgets.page(page_token="x"),
        lambda budgets: budgets.page(page_size=-1),
        lambda budgets: budgets.budget("agent:a"),
        lambda budgets: budgets.budget("x" * 2000),
        lambda budgets: budgets.history(DAY, page_token="1 OR 1"),
        lambda budgets: budgets.adjust(DAY, by=1, reason=""),
        lambda budgets: budgets.adjust(DAY, reason="nothing"),
        lambda budgets: budgets.adjust(DAY, by=-1_000, reason="below nothing"),
        lambda budgets: budgets.adjust(DAY, by=1, reason="key", idempotency_key="é"),
        lambda budgets: budgets.release("dec-1", reason=""),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    api: BudgetApi, question: Callable[[Budgets], object]
) -> None:
    async with api.client() as client:
        await decided(client)
    with pytest.raises(AisecopsClientError) as refused:
        await ask(api, question, *Role)
    assert refused.value.reason == "INVALID_REQUEST"
    assert (await ask(api, lambda budgets: budgets.budget(DAY), Role.AUDITOR)).used == 0


@pytest.mark.asyncio
async def test_a_retried_adjustment_is_made_once(api: BudgetApi) -> None:
    async with api.client() as client:
        await decided(client)
    for _ in range(3):
        budget = await ask(
            api, lambda budgets: budgets.adjust(DAY, by=2, reason="once", idempotency_key="k-1"), Role.SECURITY
        )
        assert budget.used == 2
    with pytest.raises(RequestRefusedError) as refused:
        await ask(api, lambda budgets: budgets.adjust(DAY, by=3, reason="x", idempotency_key="k-1"), Role.SECURITY)
    assert refused.value.reason == "IDEMPOTENCY_CONFLICT"
