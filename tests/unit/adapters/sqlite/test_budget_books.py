"""Any sequence of reservations, settlements, jumps of the clock and restarts: the real store keeps the books right.

A machine drives the store and, beside it, books in memory: each must answer alike, and show the same figures. In the
end an auditor who shares no code with either of them, and the product's own verification, look over everything.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.domain.budgets.budget import Budget, Metric, Subject, Window
from aisecops_server.domain.budgets.budget_changes import Adjust, BudgetChange, Reserve, Settle
from aisecops_server.domain.budgets.ledger import MemoryBooks, apply
from aisecops_server.domain.budgets.reservation import Portion, Reservation, StepSettlement, expired, settlement, voided
from aisecops_server.domain.errors import AisecopsError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.scenes.budgets.books import problems
from tests.scenes.budgets.budget_records import event_record

T = TypeVar("T")
START = 1_800_000_000
STEPS = ("s1", "s2")
BUDGETS = [
    Budget(Subject.AGENT, "a", Metric.CALLS, Window.MINUTE),
    Budget(Subject.AGENT, "a", Metric.TOKENS, Window.DAY),
    Budget(Subject.SESSION, "a#1", Metric.MICRO_USD, Window.SESSION),
    Budget(Subject.TEAM, "t/1", Metric.MICRO_USD, Window.MONTH),
]
SMALL = st.integers(0, 5)
JUMPS = st.sampled_from([0, 1, 59, 60, 3_600, 86_400, 40 * 86_400, -1, -60, -86_400, -40 * 86_400])
PORTIONS = st.dictionaries(
    st.sampled_from(BUDGETS),
    st.tuples(st.integers(0, 12), SMALL, st.dictionaries(st.sampled_from(STEPS), SMALL), st.booleans()),
    min_size=1,
    max_size=4,
)


class Books(RuleBasedStateMachine):
    """The store with room in memory for ``owners`` owners of budgets."""

    owners = 100

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="books-"))
        self.path = self.folder / "audit.db"
        self.expected = MemoryBooks()
        self.now = START
        self.numbers = itertools.count()
        self.log: SqliteEventLog

    @initialize()
    def start(self) -> None:
        self.log = open_log(self.path, LogOptions(minimum_free_bytes=0, budget_owners=self.owners))

    @rule()
    def restart(self) -> None:
        self.run(self.log.close())
        self.start()

    @rule(by=JUMPS)
    def jump(self, by: int) -> None:
        self.now = max(0, self.now + by)

    @rule(portions=PORTIONS, steps=st.booleans(), lease=st.integers(0, 100))
    def reserve(self, portions: dict[Budget, tuple[Any, ...]], *, steps: bool, lease: int) -> None:
        self.change([self.reservation(portions, steps=steps, lease=lease)])

    @rule(several=st.lists(PORTIONS, min_size=2, max_size=4))
    def reserve_together(self, several: list[dict[Budget, tuple[Any, ...]]]) -> None:
        self.change([self.reservation(portions, steps=True, lease=50) for portions in several])

    @rule(
        which=st.integers(0, 5),
        step=st.sampled_from(STEPS),
        actual=st.dictionaries(st.sampled_from(Metric), st.integers(0, 9)),
    )
    def settle(self, which: int, step: str, actual: dict[Metric, int]) -> None:
        self.end(which, lambda one: _alone(settlement(one, step, actual)))

    @rule(which=st.integers(0, 5), step=st.sampled_from(STEPS))
    def give_back(self, which: int, step: str) -> None:
        self.end(which, lambda one: voided(one, [step]))

    @rule(which=st.integers(0, 5))
    def settle_twice_at_once(self, which: int) -> None:
        one = self.picked(which)
        if one is not None and (ended := settlement(one, "s1", {})) is not None:
            self.change([Settle(one.decision_id, (ended,)), Settle(one.decision_id, (ended,))])

    @rule(after=st.sampled_from([0, 100]))
    def reap(self, after: int) -> None:
        self.now += after
        overdue = self.run(self.log.budgets.overdue(now_seconds=self.now, limit=100))
        expected = [
            one for one in self.expected.reservations.values() if one.open_steps and one.expires_at_seconds <= self.now
        ]
        assert sorted(overdue, key=lambda one: one.decision_id) == sorted(expected, key=lambda one: one.decision_id)
        self.change([Settle(one.decision_id, expired(one, one.open_steps)) for one in overdue])

    @rule(
        budget=st.sampled_from(BUDGETS),
        by=st.integers(-4, 4),
        frozen=st.sampled_from([None, True, False]),
        again=st.booleans(),
    )
    def adjust(self, budget: Budget, by: int, *, frozen: bool | None, again: bool) -> None:
        request = f"request-{0 if again else next(self.numbers)}"
        period = budget.window.started_at(self.now)
        self.change([Adjust(request, budget, period, by, frozen, "ada", "because")])

    @invariant()
    def shows_what_the_events_say(self) -> None:
        if not hasattr(self, "log"):
            return
        owners = sorted({budget.owner for budget in BUDGETS})
        shown = {state.budget: state for state in self.run(self.log.budgets.standing(owners, now_seconds=self.now))}
        expected = {
            budget: self.expected.standing(budget, budget.window.started_at(self.now))
            for budget in BUDGETS
            if budget in self.expected.limits
        }
        assert shown == expected
        for (budget, _), counter in self.expected.counters.items():
            assert 0 <= counter.overrun <= counter.used, budget

    def teardown(self) -> None:
        try:
            if hasattr(self, "log"):
                self.audit()
        finally:
            self.close()

    def audit(self) -> None:
        assert self.run(self.log.verify()).problem == ""
        assert problems(self.path) == []

    def close(self) -> None:
        if hasattr(self, "log"):
            self.run(self.log.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def run(self, waiting: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(waiting)

    def reservation(self, portions: dict[Budget, tuple[Any, ...]], *, steps: bool, lease: int) -> Reserve:
        return Reserve(
            Reservation(
                decision_id=f"dec-{next(self.numbers)}",
                trace_id="0" * 32,
                plan_id="plan-1",
                expires_at_seconds=self.now + lease,
                step_ids=STEPS if steps else (),
                portions=tuple(
                    Portion(
                        budget,
                        budget.window.started_at(self.now),
                        limit,
                        spent,
                        amounts if steps else {},
                        enforced=enforced,
                    )
                    for budget, (limit, spent, amounts, enforced) in portions.items()
                ),
            )
        )

    def picked(self, which: int) -> Reservation | None:
        known = list(self.expected.reservations.values())
        return known[which % len(known)] if known else None

    def end(self, which: int, how: Callable[[Reservation], Sequence[StepSettlement]]) -> None:
        one = self.picked(which)
        if one is None:
            return
        assert self.run(self.log.budgets.reservation(one.decision_id)) == one
        if steps := how(one):
            self.change([Settle(one.decision_id, tuple(steps))])

    def change(self, changes: Sequence[BudgetChange]) -> None:
        """Make changes at once, which come into one transaction or several, and in memory one after the other."""

        async def stored() -> list[Any]:
            records = [event_record(change, self.about(change), self.now) for change in changes]
            return await asyncio.gather(*map(self.log.append_change, records), return_exceptions=True)

        answers = self.run(stored())
        for change, answer in zip(changes, answers, strict=True):
            refusal = apply(self.expected, change)
            got = type(answer) if isinstance(answer, AisecopsError) else None
            assert got == (None if refusal is None else type(refusal)), (answer, refusal)

    def about(self, change: BudgetChange) -> Reservation | None:
        return self.expected.reservations[change.decision_id] if isinstance(change, Settle) else None


class CrowdedBooks(Books):
    """The same where memory holds one owner only, so that most is read from the file."""

    owners = 1


def _alone(ended: StepSettlement | None) -> tuple[StepSettlement, ...]:
    return () if ended is None else (ended,)


@pytest.mark.parametrize("machine", [Books, CrowdedBooks])
def test_the_books_are_right_whatever_is_tried(machine: type[Books]) -> None:
    bounds = settings(max_examples=12, stateful_step_count=30, deadline=None)
    assert run_state_machine_as_test(machine, settings=bounds) is None
