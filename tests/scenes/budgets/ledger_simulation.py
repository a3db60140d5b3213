"""Histories of the ledger from a seed: the same seed, the same history. The rules alone, no store and no clock.

Everything that can happen to books happens: plans that fit and that do not, reports that are on time, late, doubled,
lower and higher than reserved, leases that run out, people who adjust, and a clock that jumps over the borders of
periods in both directions. What the ledger takes is told to an auditor as events, as the log would tell it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from aisecops_server.domain.budgets.budget import Budget, Metric, Subject, Window
from aisecops_server.domain.budgets.budget_changes import Adjust, BudgetChange, Reserve, Settle, details_of
from aisecops_server.domain.budgets.ledger import MemoryBooks, apply
from aisecops_server.domain.budgets.reservation import Ending, Portion, Reservation, expired, settlement, voided

from tests.scenes.budgets.books import Audit

START = 1_800_000_000
STEPS = ("s1", "s2", "s3")
BUDGETS = tuple(
    Budget(subject, name, metric, window)
    for subject, name in ((Subject.AGENT, "a"), (Subject.AGENT, "b"), (Subject.TEAM, "t"))
    for metric, window in ((Metric.CALLS, Window.MINUTE), (Metric.MICRO_USD, Window.DAY), (Metric.TOKENS, Window.MONTH))
)
LIMITS = {budget: 12 + 5 * at for at, budget in enumerate(BUDGETS)}
JUMPS = (1, 10, 30, 61, 3_600, 90_000, 40 * 86_400, -1, -61, -90_000, -40 * 86_400)
LEASE = 120


@dataclass
class Simulation:
    """One history over ``books``."""

    seed: int
    books: MemoryBooks = field(default_factory=MemoryBooks)
    audit: Audit = field(default_factory=Audit)
    now: int = START

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.numbers = itertools.count()
        self.recent: list[str] = []
        self.taken: dict[str, int] = {}

    def run(self, steps: int) -> list[str]:
        """Go ``steps`` steps and return what is wrong."""
        acts: list[Callable[[], None]] = [self.reserve, self.settle, self.reap, self.give_back, self.adjust, self.jump]
        for _ in range(steps):
            self.chance.choices(acts, weights=(10, 8, 2, 1, 1, 3))[0]()
        kept = {
            (budget.key, period): (counter.used, counter.reserved)
            for (budget, period), counter in self.books.counters.items()
        }
        figures = self.audit.figures()
        wrong = [
            f"{period} is {kept.get(period, (0, 0))} rather than {figures.get(period, (0, 0))}"
            for period in sorted({*kept, *figures})
            if kept.get(period, (0, 0)) != figures.get(period, (0, 0))
        ]
        if {budget.key for budget in self.books.frozen} != self.audit.frozen:
            wrong.append("others are frozen than should be")
        return [f"seed {self.seed}: {problem}" for problem in (*self.audit.problems, *wrong)]

    def reserve(self) -> None:
        picked = self.chance.sample(BUDGETS, self.chance.randint(1, 4))
        steps = STEPS if self.chance.random() < 0.9 else ()
        portions = tuple(
            Portion(
                budget,
                budget.window.started_at(self.now),
                LIMITS[budget],
                self.chance.choice((0, 0, 0, 1)),
                {step: self.chance.randint(0, 3) for step in steps},
                enforced=self.chance.random() < 0.95,
            )
            for budget in picked
        )
        decision = f"dec-{next(self.numbers)}"
        self.recent = [*self.recent[-9:], decision]
        self.change(Reserve(Reservation(decision, "0" * 32, "plan", self.now + LEASE, steps, portions)))

    def settle(self) -> None:
        if one := self.picked():
            actual = {metric: self.chance.randint(0, 4) for metric in Metric if self.chance.random() < 0.3}
            ended = settlement(one, self.chance.choice(STEPS), actual)
            if ended is not None:
                change = Settle(one.decision_id, (ended,))
                self.change(change)
                if self.chance.random() < 0.2:
                    self.change(change)

    def reap(self) -> None:
        for one in list(self.books.reservations.values()):
            if one.expires_at_seconds <= self.now and (steps := expired(one, one.open_steps)):
                self.change(Settle(one.decision_id, steps))

    def give_back(self) -> None:
        if (one := self.picked()) and (steps := voided(one, self.chance.sample(STEPS, 2))):
            self.change(Settle(one.decision_id, steps))

    def adjust(self) -> None:
        budget = self.chance.choice(BUDGETS)
        frozen = self.chance.choice((None, False, False, True))
        request = f"request-{self.chance.randint(0, 200)}"
        period = budget.window.started_at(self.now)
        self.change(Adjust(request, budget, period, self.chance.randint(-5, 5), frozen, "ada", "because"))

    def jump(self) -> None:
        self.now += self.chance.choice(JUMPS)

    def picked(self) -> Reservation | None:
        return self.books.reservation(self.chance.choice(self.recent)) if self.recent else None

    def change(self, change: BudgetChange) -> None:
        refusal = apply(self.books, change)
        kind = type_of(change) if refusal is None else type(refusal).__name__
        self.taken[kind] = self.taken.get(kind, 0) + 1
        if refusal is None:
            self.audit.hear(kind, details_of(change))


def type_of(change: BudgetChange) -> str:
    """Return the type of the event that tells of a change."""
    if isinstance(change, Settle):
        ending = change.steps[0].ending
        return "budget.settled_late" if ending is Ending.LATE else f"budget.{ending.value}"
    return "budget.reserved" if isinstance(change, Reserve) else "budget.adjusted"
