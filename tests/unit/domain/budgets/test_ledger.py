"""The rules of the ledger in simulated histories, and that the auditor finds every bug that is planted in it."""

from __future__ import annotations

import dataclasses

import pytest
from aisecops_server.domain.budgets.budget import Budget, BudgetState, Counter
from aisecops_server.domain.budgets.budget_changes import Settle, change_of, details_of
from aisecops_server.domain.budgets.ledger import MemoryBooks, apply
from aisecops_server.domain.budgets.reservation import Reservation, StepSettlement, settlement
from aisecops_server.domain.errors import AisecopsError

from tests.scenes.budgets.ledger_simulation import Simulation

SEEDS = range(40)
STEPS = 150


def test_whatever_happens_the_books_are_right() -> None:
    assert [problem for seed in SEEDS for problem in Simulation(seed).run(STEPS)] == []


def test_the_histories_hold_everything_that_can_happen() -> None:
    taken: set[str] = set()
    for seed in SEEDS:
        simulation = Simulation(seed)
        simulation.run(STEPS)
        taken |= simulation.taken.keys()
    endings = {"budget.settled", "budget.void", "budget.expired", "budget.settled_late"}
    refusals = {"ContendedError", "NotFoundError", "InvalidRequestError", "IdempotencyConflictError"}
    assert taken == {"budget.reserved", "budget.adjusted", *endings, *refusals}


class ForgetsReservations(MemoryBooks):
    """Judges a plan as if nobody else had reserved."""

    def standing(self, budget: Budget, period: int) -> BudgetState | None:
        state = MemoryBooks.standing(self, budget, period)
        return state and dataclasses.replace(state, counter=dataclasses.replace(state.counter, reserved=0))


class SettlesTwice(MemoryBooks):
    """Forgets that a step ended."""

    def keep(self, reservation: Reservation) -> None:
        MemoryBooks.keep(self, dataclasses.replace(reservation, closed={}))


class NeverFreezes(MemoryBooks):
    """Lets an overrun pass."""

    def put(self, state: BudgetState) -> None:
        MemoryBooks.put(self, dataclasses.replace(state, frozen=False))


class ForgetsThePast(MemoryBooks):
    """Keeps the newest period only, so that a clock that goes back finds an empty one."""

    def put(self, state: BudgetState) -> None:
        MemoryBooks.put(self, state)
        newest = max(period for budget, period in self.counters if budget == state.budget)
        for key in [key for key in self.counters if key[0] == state.budget and key[1] != newest]:
            del self.counters[key]


class LosesAnUpdate(MemoryBooks):
    """Writes nothing where another was faster: the classic of read, add, write back."""

    def put(self, state: BudgetState) -> None:
        if state.counter.used % 7 != 3:
            MemoryBooks.put(self, state)


class ClipsTheTruth(MemoryBooks):
    """Never lets a counter be above its limit, whatever was used."""

    def put(self, state: BudgetState) -> None:
        used = min(state.counter.used, state.limit)
        counter = Counter(used, state.counter.reserved, min(state.counter.overrun, used))
        MemoryBooks.put(self, dataclasses.replace(state, counter=counter))


@pytest.mark.parametrize(
    "broken", [ForgetsReservations, SettlesTwice, NeverFreezes, ForgetsThePast, LosesAnUpdate, ClipsTheTruth]
)
def test_a_ledger_that_is_broken_on_purpose_is_found_out(broken: type[MemoryBooks]) -> None:
    found = False
    for seed in SEEDS:
        try:
            found = found or bool(Simulation(seed, broken()).run(STEPS))
        except (AssertionError, AisecopsError):
            found = True
    assert found


@pytest.mark.parametrize("seed", range(8))
def test_what_an_event_tells_is_the_whole_change(seed: int) -> None:
    simulation = Simulation(seed)
    told: list[tuple[str, object]] = []
    simulation.audit.hear = lambda kind, details: told.append((kind, details))  # type: ignore[method-assign]
    simulation.run(STEPS)
    again = MemoryBooks()
    for kind, details in told:
        real = {"budget.void": "budget.voided"}.get(kind, kind)
        change = change_of(real, details)  # type: ignore[arg-type]
        assert change is not None
        assert details_of(change) == details
        assert apply(again, change) is None
    assert (again.counters, again.frozen) == (simulation.books.counters, simulation.books.frozen)
    assert again.reservations == simulation.books.reservations


def test_a_settlement_of_other_figures_than_were_reserved_is_refused() -> None:
    simulation = Simulation(1)
    while not simulation.books.reservations:
        simulation.reserve()
    (one,) = simulation.books.reservations.values()
    ended = settlement(one, "s1", {})
    assert ended is not None
    lower = [dataclasses.replace(amount, reserved=0) for amount in ended.amounts]
    elsewhere = [dataclasses.replace(amount, period=amount.period - 60) for amount in ended.amounts]
    for amounts in (lower, elsewhere, ()):
        refusal = apply(
            simulation.books, Settle(one.decision_id, (StepSettlement("s1", ended.ending, tuple(amounts)),))
        )
        assert refusal is not None
        assert refusal.reason == "INTEGRITY"
    assert apply(simulation.books, Settle(one.decision_id, (ended,))) is None
