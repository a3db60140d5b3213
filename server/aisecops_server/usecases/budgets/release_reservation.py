"""A person gives back what was reserved for calls of which they know that they did not run and will not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aisecops_server.domain.budgets.budget_changes import Settle, settled_events
from aisecops_server.domain.budgets.reservation import Reservation, voided
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.budgets import BudgetLedger
from aisecops_server.usecases.budgets.adjust_budget import require_reason


@dataclass(frozen=True, slots=True)
class ReleaseCommand:
    """What a person wants to be given back; no steps for all that are open."""

    principal_id: str
    decision_id: str
    step_ids: Sequence[str]
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseReservation:
    """Releases reservations."""

    ledger: BudgetLedger
    log: EventLog
    clock: Clock
    ids: Ids

    async def __call__(self, command: ReleaseCommand) -> Reservation:
        """Give back what open steps of a decision reserved, and return the reservation as it is then.

        Asked again, it finds them given back and does nothing.

        Raises:
            InvalidRequestError: there is no reason, or a step that the decision did not reserve for.
            NotFoundError: the decision reserved nothing.
            ContendedError: a step was settled in this moment.
            LogUnavailableError: it could not be recorded, and nothing was given back.
        """
        require_reason(command.reason)
        reservation = await self.ledger.reservation(command.decision_id)
        if reservation is None:
            raise NotFoundError("the decision reserved nothing", id=command.decision_id)
        unknown = set(command.step_ids).difference(reservation.step_ids)
        if unknown:
            raise InvalidRequestError(f"step_ids: the decision has no step {min(unknown)}", field="step_ids")
        steps = voided(reservation, command.step_ids or reservation.open_steps)
        if not steps:
            return reservation
        now = self.clock.now_ns()
        change = Settle(command.decision_id, steps, command.principal_id, command.reason)
        events = settled_events(change, reservation, next_id=self.ids.event_id, now_ns=now)
        await self.log.append_change(ChangeRecord(events, (change,)))
        return replace(reservation, closed={**reservation.closed, **{step.step_id: step.ending for step in steps}})
