"""The rules of the ledger: what a change does to the books, and when it is refused. Nothing here knows where they lie.

What always holds, whatever is tried and in whatever order:

- what is reserved in a period is the sum of what open steps reserved there;
- what is used is the sum of what was settled, spent and adjusted;
- as long as limits are enforced and stay the same, used without overrun and reserved never exceed them together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from aisecops_server.domain.budgets.budget import Budget, BudgetState, Counter
from aisecops_server.domain.budgets.budget_changes import Adjust, BudgetChange, Reserve, Settle
from aisecops_server.domain.budgets.reservation import Ending, Portion, Reservation, Settled, StepSettlement
from aisecops_server.domain.errors import (
    AisecopsError,
    ContendedError,
    IdempotencyConflictError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
)


class Books(Protocol):
    """Where the figures are kept."""

    def standing(self, budget: Budget, period: int) -> BudgetState | None:
        """Return a budget as it stands in a period; ``None`` when nobody ever used it, in that period or another."""
        ...

    def put(self, state: BudgetState) -> None:
        """Keep how a budget stands in a period, and its limit and whether it is frozen for all of them."""
        ...

    def open(self, reservation: Reservation) -> bool:
        """Keep a new reservation, and return whether its decision had none."""
        ...

    def reservation(self, decision_id: str) -> Reservation | None:
        """Return what a decision reserved."""
        ...

    def keep(self, reservation: Reservation) -> None:
        """Keep a reservation as it is now."""
        ...

    def adjustment(self, request_id: str) -> Adjust | None:
        """Return the adjustment that was made for a request."""
        ...

    def note(self, adjustment: Adjust) -> None:
        """Remember that an adjustment was made."""
        ...


@dataclass(slots=True)
class MemoryBooks:
    """Books in memory: what the log says they must be."""

    counters: dict[tuple[Budget, int], Counter] = field(default_factory=dict)
    limits: dict[Budget, int] = field(default_factory=dict)
    frozen: set[Budget] = field(default_factory=set)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    adjustments: dict[str, Adjust] = field(default_factory=dict)

    def standing(self, budget: Budget, period: int) -> BudgetState | None:
        """Return a budget as it stands in a period."""
        if budget not in self.limits:
            return None
        counter = self.counters.get((budget, period), Counter())
        return BudgetState(budget, period, counter, self.limits[budget], budget in self.frozen)

    def put(self, state: BudgetState) -> None:
        """Keep how a budget stands."""
        self.counters[state.budget, state.period] = state.counter
        self.limits[state.budget] = state.limit
        (self.frozen.add if state.frozen else self.frozen.discard)(state.budget)

    def open(self, reservation: Reservation) -> bool:
        """Keep a new reservation."""
        return self.reservations.setdefault(reservation.decision_id, reservation) is reservation

    def reservation(self, decision_id: str) -> Reservation | None:
        """Return what a decision reserved."""
        return self.reservations.get(decision_id)

    def keep(self, reservation: Reservation) -> None:
        """Keep a reservation as it is now."""
        self.reservations[reservation.decision_id] = reservation

    def adjustment(self, request_id: str) -> Adjust | None:
        """Return the adjustment that was made for a request."""
        return self.adjustments.get(request_id)

    def note(self, adjustment: Adjust) -> None:
        """Remember that an adjustment was made."""
        self.adjustments[adjustment.request_id] = adjustment


def apply(books: Books, change: BudgetChange) -> AisecopsError | None:
    """Make ``change`` in ``books``, all of it, or nothing and return why."""
    match change:
        case Reserve():
            return _reserve(books, change.reservation)
        case Settle():
            return _settle(books, change)
        case Adjust():
            return _adjust(books, change)


def _reserve(books: Books, reservation: Reservation) -> AisecopsError | None:
    if len({portion.budget for portion in reservation.portions}) != len(reservation.portions):
        return IntegrityError("a decision cannot reserve from a budget twice")
    states = [_of(books, portion) for portion in reservation.portions]
    for portion, state in zip(reservation.portions, states, strict=True):
        if portion.enforced and (state.frozen or not state.counter.takes(portion.amount, limit=portion.limit)):
            return ContendedError(
                "others used the budget while the plan was decided",
                hint="Ask again; the answer then says what is left",
                budget=portion.budget.key,
            )
    if reservation.step_ids and not books.open(reservation):
        return IntegrityError("a decision cannot reserve twice")
    for portion, state in zip(reservation.portions, states, strict=True):
        counter = state.counter.use(portion.spent, limit=portion.limit).reserve(sum(portion.steps.values()))
        books.put(state.counted(counter, frozen=state.frozen))
    return None


def _settle(books: Books, change: Settle) -> AisecopsError | None:
    reservation = books.reservation(change.decision_id)
    if reservation is None:
        return NotFoundError(
            "the decision reserved nothing", hint="Check the decision with 'aisecops explain'", id=change.decision_id
        )
    for step in change.steps:
        if problem := _unfit(reservation, step):
            return problem
        reservation = reservation.ended(step)
    for step in change.steps:
        for settled in step.amounts:
            _post(books, settled, late=step.ending is Ending.LATE)
    books.keep(reservation)
    return None


def _unfit(reservation: Reservation, step: StepSettlement) -> AisecopsError | None:
    ended = reservation.closed.get(step.step_id)
    if step.step_id not in reservation.step_ids or ended is not (
        Ending.EXPIRED if step.ending is Ending.LATE else None
    ):
        return ContendedError(
            "the step was settled meanwhile",
            hint="Read what became of it; nothing is charged twice",
            step=step.step_id,
        )
    portions = {(portion.budget, portion.period): portion for portion in reservation.portions}
    for settled in step.amounts:
        portion = portions.get((settled.budget, settled.period))
        if portion is None or portion.steps.get(step.step_id, 0) != settled.reserved or settled.actual < 0:
            return IntegrityError("a step cannot settle what was not reserved for it")
    covered = {(settled.budget, settled.period) for settled in step.amounts}
    if step.ending is not Ending.LATE and any(
        portion.steps.get(step.step_id) and key not in covered for key, portion in portions.items()
    ):
        return IntegrityError("a step cannot leave open what was reserved for it")
    return None


def _post(books: Books, settled: Settled, *, late: bool) -> None:
    state = books.standing(settled.budget, settled.period)
    if state is None:
        raise IntegrityError("the books do not know a budget of their own reservation")
    reserved, actual = settled.reserved, settled.actual
    if late:
        # What was reserved was charged when the step expired.
        counter = state.counter.late(actual - reserved)
    else:
        counter = state.counter.settle(reserved, actual, limit=settled.limit)
    books.put(state.counted(counter, frozen=state.frozen or settled.breaks_estimate))


def _adjust(books: Books, change: Adjust) -> AisecopsError | None:
    made = books.adjustment(change.request_id)
    if made is not None:
        return IdempotencyConflictError(
            "the idempotency key was used for another adjustment"
            if made != change
            else "the adjustment was made before",
            hint="Read the budget; a fresh key adjusts it again",
            key=change.request_id,
        )
    state = books.standing(change.budget, change.period)
    if state is None:
        return NotFoundError(
            f"nobody used the budget {change.budget.key}",
            hint="'aisecops budget list' names those that were used",
            id=change.budget.key,
        )
    if state.counter.used + change.by < 0:
        return InvalidRequestError(f"by: only {state.counter.used} was used", hint="Lower it by less", field="by")
    frozen = state.frozen if change.frozen is None else change.frozen
    books.put(state.counted(state.counter.adjust(change.by), frozen=frozen))
    books.note(change)
    return None


def _of(books: Books, portion: Portion) -> BudgetState:
    state = books.standing(portion.budget, portion.period)
    if state is None:
        return BudgetState(portion.budget, portion.period, Counter(), portion.limit, frozen=False)
    return BudgetState(portion.budget, portion.period, state.counter, portion.limit, state.frozen)
