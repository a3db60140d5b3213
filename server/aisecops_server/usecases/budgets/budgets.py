"""Budgets around a decision: policy is told what was used, and what it allows is reserved with its record.

The ledger judges again what policy judged, because between the two somebody else may have used what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aisecops_server.domain.budgets.budget import Metric, Usage
from aisecops_server.domain.budgets.budget_changes import Reserve, Settle, reserved_event, settled_events
from aisecops_server.domain.budgets.reservation import Reservation, StepSettlement, expired, settlement
from aisecops_server.domain.decisions.decision import Decision, Outcome
from aisecops_server.domain.decisions.usage import owners_of, portions_of, spent_before, subjects_of
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.ports import Ids
from aisecops_server.ports.budgets import BudgetLedger
from aisecops_server.usecases.decisions.controls import Asked, Commitment

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class BudgetControl:
    """Implements ``Control``. A reservation whose steps nobody reports on is charged after ``lease_seconds``."""

    ledger: BudgetLedger
    ids: Ids
    lease_seconds: int

    async def facts(self, asked: Asked, known: Circumstances) -> Circumstances:
        """Add what was used of every budget that the plan can concern."""
        subjects = subjects_of(asked.principal.id, asked.plan, asked.bundle.tables)
        owners = owners_of(subjects, asked.plan)
        states = await self.ledger.standing(owners, now_seconds=asked.now_ns // _NS)
        return replace(known, usage=Usage(subjects, tuple(states)))

    async def commitment(self, asked: Asked, decision: Decision) -> Commitment:
        """Reserve what is allowed; what was used before the plan is charged whatever the outcome."""
        now, charges = asked.now_ns // _NS, decision.conclusion.charges
        is_allowed = decision.outcome is Outcome.ALLOW
        portions = (portions_of if is_allowed else spent_before)(charges, now_seconds=now)
        if not portions:
            return Commitment()
        change = Reserve(
            Reservation(
                decision_id=decision.id,
                trace_id=decision.trace_id,
                plan_id=decision.plan_id,
                expires_at_seconds=now + self.lease_seconds,
                step_ids=tuple(step.id for step in asked.plan.steps) if is_allowed else (),
                portions=portions,
            )
        )
        return Commitment((change,), (reserved_event(change, id=self.ids.event_id(), now_ns=asked.now_ns),))


@dataclass(frozen=True, slots=True)
class Settlements:
    """Makes what the end of a step changes in the budgets, for the record that tells of that end."""

    ledger: BudgetLedger
    ids: Ids

    async def of_step(self, decision_id: str, step_id: str, actual: Mapping[Metric, int], *, now_ns: int) -> Commitment:
        """Return the change and events for a step that came to ``actual``; nothing when there is nothing to settle."""
        reservation = await self.ledger.reservation(decision_id)
        if reservation is None:
            return Commitment()
        ended = settlement(reservation, step_id, actual)
        return Commitment() if ended is None else self.of(reservation, (ended,), now_ns=now_ns)

    async def of_silence(self, decision_id: str, step_id: str, *, now_ns: int) -> Commitment:
        """Return the change and events for a step of which nobody said in time what it came to: it may have run."""
        reservation = await self.ledger.reservation(decision_id)
        steps = () if reservation is None else expired(reservation, (step_id,))
        return self.of(reservation, steps, now_ns=now_ns) if reservation is not None and steps else Commitment()

    def of(self, reservation: Reservation, steps: tuple[StepSettlement, ...], *, now_ns: int) -> Commitment:
        """Return the change and events that end ``steps``, all in the same way."""
        change = Settle(reservation.decision_id, steps)
        return Commitment((change,), settled_events(change, reservation, next_id=self.ids.event_id, now_ns=now_ns))
