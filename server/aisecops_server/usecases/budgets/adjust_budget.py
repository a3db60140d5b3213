"""People correct the books: they raise or lower what was used, freeze a budget, or let it go on after an overrun.

Every adjustment has a person and a reason, and is on record with them. Limits are no part of it: they are policy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aisecops_server.domain.budgets.budget import Budget, BudgetState
from aisecops_server.domain.budgets.budget_changes import Adjust, adjusted_event
from aisecops_server.domain.errors import IdempotencyConflictError, InvalidRequestError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.budgets import BudgetLedger

_REASON_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class AdjustCommand:
    """What a person wants. ``frozen`` is ``None`` to leave that; the same key adjusts once, an empty one every time."""

    principal_id: str
    budget: Budget
    by: int
    frozen: bool | None
    reason: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class AdjustBudget:
    """Adjusts budgets."""

    ledger: BudgetLedger
    log: EventLog
    clock: Clock
    ids: Ids

    async def __call__(self, command: AdjustCommand) -> BudgetState:
        """Adjust the present period of a budget, and return how it stands then.

        Raises:
            InvalidRequestError: there is no reason, nothing to do, or less was used than is to be taken off.
            NotFoundError: nobody used that budget.
            IdempotencyConflictError: the key was used for another adjustment.
            LogUnavailableError: it could not be recorded, and was not made.
        """
        _check(command)
        now = self.clock.now_ns()
        seconds = now // 1_000_000_000
        # Keys are each person's own.
        request = f"{command.principal_id} {command.idempotency_key or self.ids.event_id()}"
        change = Adjust(
            request_id=request,
            budget=command.budget,
            period=command.budget.window.started_at(seconds),
            by=command.by,
            frozen=command.frozen,
            principal=command.principal_id,
            reason=command.reason,
        )
        event = adjusted_event(change, id=self.ids.event_id(), now_ns=now)
        try:
            await self.log.append_change(ChangeRecord((event,), (change,)))
        except IdempotencyConflictError:
            made = await self.ledger.adjustment(request)
            # A retry may come in the next period.
            if made is None or replace(made, period=change.period) != change:
                raise
        return await self.ledger.budget(command.budget, now_seconds=seconds)


def require_reason(reason: str) -> None:
    """Refuse what nobody could understand later.

    Raises:
        InvalidRequestError: there is no reason, too much of it, or it is no text.
    """
    is_text = not any("\ud800" <= character <= "\udfff" for character in reason)
    if not reason.strip() or len(reason) > _REASON_CHARACTERS or not is_text:
        raise InvalidRequestError(
            f"reason: 1 to {_REASON_CHARACTERS} characters of text are needed",
            hint="Say why; it stands in the audit log",
            field="reason",
        )


def _check(command: AdjustCommand) -> None:
    require_reason(command.reason)
    if abs(command.by) > SAFE_INTEGER:
        raise InvalidRequestError("by: is too large", field="by")
    if command.by == 0 and command.frozen is None:
        raise InvalidRequestError("by: nothing is to be adjusted", hint="Say by how much, or freeze it", field="by")
