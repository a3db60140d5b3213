"""What a decision reserved, and what becomes of it step by step.

A reservation is opened by the decision that allows a plan and closed once for each step. How a step ends decides what
is charged:

=========  ==============================================================================================
settled    what it came to, and at least what was reserved; more is overrun and freezes the budget
void       nothing: the control plane itself knows that the call cannot have run
expired    what was reserved: nobody said what became of the call, so it may have run
=========  ==============================================================================================

What the one who spends says about its own spending can raise a figure and never lower one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from aisecops_server.domain.budgets.budget import Budget, Metric, Subject
from aisecops_server.domain.formats.canonical import SAFE_INTEGER

# What nobody can know before a call is over; the other metrics count the call itself.
MEASURED = frozenset({Metric.TOKENS, Metric.MICRO_USD, Metric.WALL_MILLISECONDS})


class Ending(StrEnum):
    """How a step of a reservation ended. ``LATE`` is the report about one that had expired."""

    SETTLED = "settled"
    VOID = "void"
    EXPIRED = "expired"
    LATE = "late"


class ReservationState(StrEnum):
    """What became of a reservation."""

    RESERVED = "RESERVED"
    SETTLED = "SETTLED"
    VOID = "VOID"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Portion:
    """What a plan takes from one budget in one period.

    ``steps`` are reserved, step by step. ``spent`` was used before the plan was asked about, and is charged at once.
    A portion that is not ``enforced`` is counted even where there is no room.
    """

    budget: Budget
    period: int
    limit: int
    spent: int
    steps: Mapping[str, int]
    enforced: bool = True

    @property
    def amount(self) -> int:
        """Return all of it."""
        return self.spent + sum(self.steps.values())

    def concerns(self, step_id: str) -> bool:
        """Return whether what a step comes to counts here, even if nothing was reserved for it."""
        return step_id in self.steps or (self.budget.metric in MEASURED and self.budget.subject is not Subject.TOOL)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one decision reserved. ``closed`` says how each step that is no longer open ended.

    One without steps only charges what was spent before, and is never kept.
    """

    decision_id: str
    trace_id: str
    plan_id: str
    expires_at_seconds: int
    step_ids: tuple[str, ...]
    portions: tuple[Portion, ...]
    closed: Mapping[str, Ending] = field(default_factory=dict)

    @property
    def state(self) -> ReservationState:
        """Return what became of it: the worst end of any of its steps, once all have ended."""
        if any(step not in self.closed for step in self.step_ids):
            return ReservationState.RESERVED
        endings = set(self.closed.values())
        if endings & {Ending.EXPIRED, Ending.LATE}:
            return ReservationState.EXPIRED
        return ReservationState.VOID if endings <= {Ending.VOID} else ReservationState.SETTLED

    @property
    def open_steps(self) -> tuple[str, ...]:
        """Return the steps of which it is not known what became of them."""
        return tuple(step for step in self.step_ids if step not in self.closed)

    def ended(self, settlement: StepSettlement) -> Reservation:
        """Return it with one step ended."""
        return replace(self, closed={**self.closed, settlement.step_id: settlement.ending})


@dataclass(frozen=True, slots=True)
class Settled:
    """What one step came to in one budget, in the period in which it was reserved."""

    budget: Budget
    period: int
    limit: int
    reserved: int
    actual: int

    @property
    def breaks_estimate(self) -> bool:
        """Return whether it came to more than policy had reserved for it."""
        return self.actual > self.reserved > 0


@dataclass(frozen=True, slots=True)
class StepSettlement:
    """How one step ended and what it came to."""

    step_id: str
    ending: Ending
    amounts: tuple[Settled, ...]


def settlement(reservation: Reservation, step_id: str, actual: Mapping[Metric, int]) -> StepSettlement | None:
    """Return how a step is settled that came to ``actual``; ``None`` when there is nothing left to settle.

    What ``actual`` does not name came to what was reserved. A figure below that counts for nothing: it is
    told by the one who spent. A step that expired was charged already, and only what is more counts.
    """
    ending = reservation.closed.get(step_id)
    if step_id not in reservation.step_ids or ending in (Ending.SETTLED, Ending.VOID, Ending.LATE):
        return None
    late = ending is Ending.EXPIRED
    amounts = [_settled(portion, step_id, actual) for portion in reservation.portions if portion.concerns(step_id)]
    if late:
        amounts = [amount for amount in amounts if amount.actual > amount.reserved]
        return StepSettlement(step_id, Ending.LATE, tuple(amounts)) if amounts else None
    return StepSettlement(step_id, Ending.SETTLED, _moved(amounts))


def voided(reservation: Reservation, step_ids: Sequence[str]) -> tuple[StepSettlement, ...]:
    """Return how open steps end that cannot have run: everything that was reserved for them is given back."""
    return _ended(reservation, step_ids, Ending.VOID)


def expired(reservation: Reservation, step_ids: Sequence[str]) -> tuple[StepSettlement, ...]:
    """Return how open steps end once the time for reports is over: they are charged as reserved."""
    return _ended(reservation, step_ids, Ending.EXPIRED)


def _ended(reservation: Reservation, step_ids: Sequence[str], ending: Ending) -> tuple[StepSettlement, ...]:
    return tuple(
        StepSettlement(step, ending, _moved(_as_reserved(portion, step, ending) for portion in reservation.portions))
        for step in step_ids
        if step in reservation.open_steps
    )


def _as_reserved(portion: Portion, step_id: str, ending: Ending) -> Settled:
    reserved = portion.steps.get(step_id, 0)
    actual = 0 if ending is Ending.VOID else reserved
    return Settled(portion.budget, portion.period, portion.limit, reserved, actual)


def _settled(portion: Portion, step_id: str, actual: Mapping[Metric, int]) -> Settled:
    reserved = portion.steps.get(step_id, 0)
    told = min(actual.get(portion.budget.metric, reserved), SAFE_INTEGER)
    return Settled(portion.budget, portion.period, portion.limit, reserved, max(told, reserved))


def _moved(amounts: Iterable[Settled]) -> tuple[Settled, ...]:
    return tuple(amount for amount in amounts if amount.reserved or amount.actual)
