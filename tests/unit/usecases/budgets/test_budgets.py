"""Budgets around decisions, on the real store: what is allowed is reserved, and nobody gets what is not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.budgets.budget import Budget, Counter, Metric
from aisecops_server.domain.budgets.reservation import ReservationState, voided
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.errors import (
    ContendedError,
    IdempotencyConflictError,
    InvalidRequestError,
    NotFoundError,
)
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.domain.plans.plan_builder import Fresh, ModelUsageDraft, PlanDraft, StepDraft, build_plan
from aisecops_server.usecases.budgets.adjust_budget import AdjustBudget, AdjustCommand
from aisecops_server.usecases.budgets.budgets import BudgetControl, Settlements
from aisecops_server.usecases.budgets.expire_reservations import ExpireReservations
from aisecops_server.usecases.decisions.decide import Decide, DecideCommand, Decided

from tests.fakes.charging_engine import ChargingEngine, Limit
from tests.fakes.clock import FakeClock
from tests.fakes.policy_engine import fake_bundle
from tests.scenes.budgets.books import problems

AGENT = "spiffe://corp.example/agent/a"
CALLS = Budget.named(f"agent:{AGENT}/calls/day")
TOKENS = Budget.named(f"agent:{AGENT}/tokens/day")
LEASE = 600
TABLES = {"agents": {AGENT: {"owner": "team-a", "tenant": "tenant-a"}}}


@dataclass
class Plane:
    """The part of a control plane that budgets need, with a clock that is moved."""

    path: Path
    engine: ChargingEngine = field(default_factory=lambda: ChargingEngine(bundle=replace(fake_bundle(), tables=TABLES)))
    clock: FakeClock = field(default_factory=FakeClock)
    ids: RandomIds = field(default_factory=RandomIds)

    def __post_init__(self) -> None:
        self.log: SqliteEventLog = open_log(self.path, LogOptions(minimum_free_bytes=0))
        budgets = self.log.budgets
        self.settlements = Settlements(budgets, self.ids)
        self.decide = Decide(
            self.engine,
            self.log,
            self.clock,
            self.ids,
            deadline_seconds=1.0,
            controls=(BudgetControl(budgets, self.ids, LEASE),),
        )
        self.adjust = AdjustBudget(budgets, self.log, self.clock, self.ids)
        self.expire = ExpireReservations(budgets, self.log, self.clock, self.settlements)

    async def ask(self, *, steps: int = 1, **facts: Any) -> Decided:
        return await self.decide(self.command(steps=steps, **facts))

    def command(
        self, *, steps: int = 1, tokens: int = 0, mode: Mode = Mode.ENFORCE, key: str = "", session: str = "s-1"
    ) -> DecideCommand:
        draft = PlanDraft(
            steps=tuple(StepDraft(f"s{at}", "mail/read", b"{}") for at in range(steps)),
            session_id=session,
            model_usage=(ModelUsageDraft("m-1", tokens, 0),) if tokens else (),
        )
        plan = build_plan(draft, Fresh(self.ids.trace_id(), self.ids.plan_id()))
        principal = Principal(PrincipalId(AGENT), "token", frozenset({Role.AGENT}))
        return DecideCommand(principal, plan, mode, key, "digest")

    async def counter(self, budget: Budget = CALLS) -> Counter:
        try:
            return (await self.log.budgets.budget(budget, now_seconds=self.seconds)).counter
        except NotFoundError:
            return Counter()

    async def is_frozen(self, budget: Budget = CALLS) -> bool:
        return (await self.log.budgets.budget(budget, now_seconds=self.seconds)).frozen

    async def complete(self, decided: Decided, step: str, **actual: int) -> None:
        """Report what a step came to, as the completion of a grant does."""
        told = {Metric(metric): amount for metric, amount in actual.items()}
        now = self.clock.now_ns()
        ended = await self.settlements.of_step(str(decided.details["decision_id"]), step, told, now_ns=now)
        if ended.changes:
            await self.log.append_change(ChangeRecord(ended.events, ended.changes))

    async def types(self) -> list[str]:
        return [stored.event.type async for stored in self.log.events(from_index=0, follow=False, trace_id="")]

    @property
    def seconds(self) -> int:
        return self.clock.now_ns() // 10**9

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.engine.documents[-1])
        return document


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    """A plane whose books are audited in the end, whatever a test did."""
    plane = Plane(tmp_path / "audit.db")
    yield plane
    assert (await plane.log.verify()).problem == ""
    await plane.log.close()
    assert problems(plane.path) == []


def outcomes(answers: Sequence[object]) -> list[str]:
    return sorted(answer.outcome.value if isinstance(answer, Decided) else type(answer).__name__ for answer in answers)


@pytest.mark.asyncio
async def test_policy_is_told_who_is_counted_and_what_was_used(plane: Plane) -> None:
    await plane.ask(steps=2)
    await plane.ask(tokens=7)
    usage = plane.document["usage"]
    assert usage["subjects"] == {
        "agent": AGENT,
        "session": f"{AGENT}#s-1",
        "team": "team-a",
        "tenant": "tenant-a",
    }
    midnight = CALLS.window.resets_at(CALLS.window.started_at(plane.seconds))
    assert usage["counters"] == {
        CALLS.key: {"used": 0, "reserved": 2, "overrun": 0, "frozen": False, "resets_at_seconds": midnight}
    }
    assert usage["reported"] == {
        "input_tokens": 7,
        "output_tokens": 0,
        "models": {"m-1": {"input_tokens": 7, "output_tokens": 0}},
    }


@pytest.mark.asyncio
async def test_a_plan_without_a_session_is_a_session_of_its_own(plane: Plane) -> None:
    asked = plane.command(session="")
    await plane.decide(asked)
    assert plane.document["usage"]["subjects"]["session"] == f"{AGENT}#{asked.plan.trace_id}"


@pytest.mark.asyncio
async def test_what_is_allowed_is_reserved_until_there_is_no_more(plane: Plane) -> None:
    answers = [await plane.ask(steps=2), await plane.ask(), await plane.ask()]
    assert [answer.outcome for answer in answers] == [Outcome.ALLOW, Outcome.ALLOW, Outcome.DENY]
    assert await plane.counter() == Counter(reserved=3)
    assert answers[1].details["budgets"] == [
        {
            "budget": CALLS.key,
            "used": 0,
            "reserved": 2,
            "frozen": False,
            "resets_at_seconds": CALLS.window.resets_at(CALLS.window.started_at(plane.seconds)),
        }
    ]
    assert (await plane.types()).count("budget.reserved") == 2


@pytest.mark.asyncio
async def test_what_is_only_tried_or_denied_takes_nothing(plane: Plane) -> None:
    await plane.ask(mode=Mode.DRY_RUN)
    await plane.ask(steps=4)
    assert await plane.counter() == Counter()


@pytest.mark.asyncio
@pytest.mark.parametrize("racers", [2, 16])
async def test_of_those_who_race_for_the_last_unit_exactly_one_gets_it(plane: Plane, racers: int) -> None:
    await plane.ask(steps=2)
    answers = await asyncio.gather(*(plane.ask() for _ in range(racers)))
    assert outcomes(answers) == ["ALLOW"] + ["DENY"] * (racers - 1)
    assert await plane.counter() == Counter(reserved=3)


@pytest.mark.asyncio
async def test_plans_of_one_batch_share_what_there_is(plane: Plane) -> None:
    answers = await plane.decide.batch([plane.command() for _ in range(5)])
    assert outcomes(answers) == ["ALLOW"] * 3 + ["DENY"] * 2


@pytest.mark.asyncio
async def test_the_ledger_refuses_what_a_blind_policy_allows(plane: Plane) -> None:
    plane.engine.blind = True
    await plane.ask(steps=3)
    with pytest.raises(ContendedError) as refused:
        await plane.ask()
    assert refused.value.metadata() == {"budget": CALLS.key}
    assert await plane.counter() == Counter(reserved=3)


@pytest.mark.asyncio
async def test_a_retry_takes_nothing_again(plane: Plane) -> None:
    asked = plane.command(key="k-1")
    answers = await asyncio.gather(plane.decide(asked), plane.decide(asked))
    assert len({str(answer.details["decision_id"]) for answer in [*answers, await plane.decide(asked)]}) == 1
    assert await plane.counter() == Counter(reserved=1)


@pytest.mark.asyncio
async def test_another_session_of_the_same_name_is_another_agents(plane: Plane) -> None:
    plane.engine.limits = (Limit("session", "calls", "session", 1),)
    await plane.ask()
    stranger = replace(plane.command(), principal=Principal(PrincipalId("b"), "token", frozenset({Role.AGENT})))
    assert (await plane.decide(stranger)).outcome is Outcome.ALLOW
    assert (await plane.ask()).outcome is Outcome.DENY


@pytest.mark.asyncio
async def test_reported_tokens_are_counted_whatever_the_answer_is(plane: Plane) -> None:
    plane.engine.limits = (Limit("agent", "tokens", "day", 100, per_step=0),)
    answers = [await plane.ask(tokens=60), await plane.ask(tokens=70), await plane.ask()]
    assert [answer.outcome for answer in answers] == [Outcome.ALLOW, Outcome.DENY, Outcome.DENY]
    assert await plane.counter(TOKENS) == Counter(used=130, overrun=30)
    assert not await plane.is_frozen(TOKENS)


@pytest.mark.asyncio
async def test_no_claim_lowers_a_figure(plane: Plane) -> None:
    plane.engine.limits = (Limit("agent", "tokens", "day", 100, per_step=10),)
    decided = await plane.ask(steps=2)
    await plane.complete(decided, "s0", tokens=1)
    assert await plane.counter(TOKENS) == Counter(used=10, reserved=10)
    await plane.complete(decided, "s1", tokens=0)
    assert await plane.counter(TOKENS) == Counter(used=20)


@pytest.mark.asyncio
async def test_more_than_reserved_is_overrun_freezes_and_is_told_until_a_person_lets_it_go_on(plane: Plane) -> None:
    plane.engine.limits = (Limit("agent", "tokens", "day", 100, per_step=10),)
    await plane.complete(await plane.ask(), "s0", tokens=30)
    assert await plane.counter(TOKENS) == Counter(used=30, overrun=20)
    assert (await plane.types()).count("budget.overrun") == 1
    assert (await plane.ask()).outcome is Outcome.DENY
    # A new day does not mend an estimate that is wrong.
    plane.clock.advance(86_400)
    assert (await plane.ask()).outcome is Outcome.DENY
    state = await plane.adjust(AdjustCommand("ada", TOKENS, 0, False, "the estimate was mended", ""))
    assert not state.frozen
    assert (await plane.ask()).outcome is Outcome.ALLOW


@pytest.mark.asyncio
async def test_an_overrun_that_is_reported_in_the_next_period_still_freezes(plane: Plane) -> None:
    plane.engine.limits = (Limit("agent", "tokens", "minute", 100, per_step=10),)
    decided = await plane.ask()
    plane.clock.advance(60)
    await plane.complete(decided, "s0", tokens=30)
    assert (await plane.ask()).outcome is Outcome.DENY


@pytest.mark.asyncio
async def test_who_never_reports_has_used_what_was_reserved(plane: Plane) -> None:
    decided = await plane.ask(steps=3)
    await plane.complete(decided, "s0")
    assert await plane.expire() == 0
    plane.clock.advance(LEASE)
    assert (await plane.expire(), await plane.expire()) == (1, 0)
    assert await plane.counter() == Counter(used=3)
    assert (await plane.ask()).outcome is Outcome.DENY
    reservation = await plane.log.budgets.reservation(str(decided.details["decision_id"]))
    assert reservation is not None
    assert reservation.state is ReservationState.EXPIRED


@pytest.mark.asyncio
async def test_a_report_after_the_end_counts_as_far_as_it_is_more(plane: Plane) -> None:
    plane.engine.limits = (Limit("agent", "tokens", "day", 100, per_step=10),)
    decided = await plane.ask(steps=2)
    plane.clock.advance(LEASE)
    await plane.expire()
    await plane.complete(decided, "s0", tokens=10)
    await plane.complete(decided, "s0", tokens=1)
    assert await plane.counter(TOKENS) == Counter(used=20)
    await plane.complete(decided, "s1", tokens=25)
    await plane.complete(decided, "s1", tokens=99)
    assert await plane.counter(TOKENS) == Counter(used=35, overrun=15)
    assert await plane.is_frozen(TOKENS)


@pytest.mark.asyncio
async def test_what_cannot_have_run_is_given_back(plane: Plane) -> None:
    decided = await plane.ask(steps=2)
    reservation = await plane.log.budgets.reservation(str(decided.details["decision_id"]))
    assert reservation is not None
    ended = plane.settlements.of(reservation, voided(reservation, ["s1"]), now_ns=plane.clock.now_ns())
    await plane.log.append_change(ChangeRecord(ended.events, ended.changes))
    assert await plane.counter() == Counter(reserved=1)


@pytest.mark.asyncio
async def test_more_overdue_reservations_than_fit_into_one_round_are_all_charged(plane: Plane) -> None:
    plane.engine.limits = (Limit("agent", "calls", "day", 1000),)
    await plane.decide.batch([plane.command() for _ in range(300)])
    plane.clock.advance(LEASE)
    assert await plane.expire() == 300
    assert await plane.counter() == Counter(used=300)


@pytest.mark.asyncio
async def test_what_is_only_observed_is_counted_and_refuses_nothing(plane: Plane) -> None:
    plane.engine.limits = (Limit("agent", "calls", "day", 1, enforced=False),)
    answers = [await plane.ask() for _ in range(3)]
    assert outcomes(answers) == ["ALLOW"] * 3
    assert await plane.counter() == Counter(reserved=3)


@pytest.mark.asyncio
@pytest.mark.parametrize("jump", [86_400, -86_400, 40 * 86_400, -40 * 86_400])
async def test_a_clock_that_jumps_over_a_border_opens_one_period_and_not_two(plane: Plane, jump: int) -> None:
    await plane.ask(steps=3)
    plane.clock.advance(jump)
    there = [await plane.ask(steps=3), await plane.ask()]
    plane.clock.advance(-jump)
    back = await plane.ask()
    assert outcomes(there) == ["ALLOW", "DENY"]
    assert back.outcome is Outcome.DENY


@pytest.mark.asyncio
async def test_a_restart_in_the_middle_of_everything_changes_nothing(plane: Plane) -> None:
    decided = await plane.ask(steps=2)
    await plane.complete(decided, "s0")
    await plane.log.close()
    plane.__post_init__()
    assert await plane.counter() == Counter(used=1, reserved=1)
    await plane.complete(decided, "s0")
    await plane.complete(decided, "s1")
    assert await plane.counter() == Counter(used=2)
    assert outcomes([await plane.ask(), await plane.ask()]) == ["ALLOW", "DENY"]


@pytest.mark.asyncio
async def test_a_person_corrects_the_books_once_for_each_key(plane: Plane) -> None:
    await plane.complete(await plane.ask(steps=2), "s0")
    lower = AdjustCommand("ada", CALLS, -1, None, "it was a test", "key-1")
    assert (await plane.adjust(lower)).counter == Counter(used=0, reserved=1)
    # A retry, even on the next day, and nothing else under the same key.
    plane.clock.advance(86_400)
    await plane.adjust(lower)
    plane.clock.advance(-86_400)
    assert await plane.counter() == Counter(used=0, reserved=1)
    with pytest.raises(IdempotencyConflictError):
        await plane.adjust(replace(lower, by=-2))
    # Another person's key is another one.
    assert (await plane.adjust(replace(lower, principal_id="bob", by=3))).counter == Counter(used=3, reserved=1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"reason": " "}, InvalidRequestError),
        ({"reason": "x" * 501}, InvalidRequestError),
        ({"by": 0}, InvalidRequestError),
        ({"by": -2}, InvalidRequestError),
        ({"by": 2**60}, InvalidRequestError),
        ({"budget": TOKENS}, NotFoundError),
    ],
)
async def test_an_adjustment_that_makes_no_sense_is_refused(
    plane: Plane, change: dict[str, Any], refusal: type[Exception]
) -> None:
    await plane.complete(await plane.ask(), "s0")
    with pytest.raises(refusal):
        await plane.adjust(replace(AdjustCommand("ada", CALLS, 1, None, "why not", ""), **change))
    assert await plane.counter() == Counter(used=1)


@pytest.mark.asyncio
async def test_a_frozen_budget_refuses_everything(plane: Plane) -> None:
    await plane.ask()
    await plane.adjust(AdjustCommand("ada", CALLS, 0, True, "an incident", ""))
    assert (await plane.ask()).outcome is Outcome.DENY
