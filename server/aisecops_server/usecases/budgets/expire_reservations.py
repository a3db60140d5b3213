"""The end of reservations of which nobody said what came of them: what was reserved is charged, since it may have run.

Whoever takes an answer and never reports on it must not be able to have more than who reports: a lease that ran out
gives nothing back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aisecops_server.domain.budgets.reservation import Reservation, expired
from aisecops_server.domain.errors import ContendedError
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog
from aisecops_server.ports.budgets import BudgetLedger
from aisecops_server.usecases.budgets.budgets import Settlements

# As many at a time share few commits.
_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class ExpireReservations:
    """Charges what is overdue."""

    ledger: BudgetLedger
    log: EventLog
    clock: Clock
    settlements: Settlements

    async def __call__(self) -> int:
        """Charge every reservation that is overdue, and return how many were.

        Raises:
            LogUnavailableError: it could not be recorded; what was not charged still is overdue.
        """
        charged = 0
        while True:
            now = self.clock.now_ns()
            overdue = await self.ledger.overdue(now_seconds=now // 1_000_000_000, limit=_AT_ONCE)
            charges = (self._charge(reservation, now) for reservation in overdue)
            for result in await asyncio.gather(*charges, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
                charged += result
            if len(overdue) < _AT_ONCE:
                return charged

    async def _charge(self, reservation: Reservation, now: int) -> bool:
        ended = self.settlements.of(reservation, expired(reservation, reservation.open_steps), now_ns=now)
        try:
            await self.log.append_change(ChangeRecord(ended.events, ended.changes))
        except ContendedError:
            # Somebody reported in the last moment; that one counts, and what is left comes up again.
            return False
        return True
