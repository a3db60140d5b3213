"""The end of grants of which nobody said what came of them: they are closed as unknown, so that none stays open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aisecops_server.domain.errors import ContendedError
from aisecops_server.domain.grants.execution import grant_event
from aisecops_server.domain.grants.grant import GrantState, StoredGrant
from aisecops_server.domain.grants.grant_changes import CloseGrant
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.grants import GrantStore
from aisecops_server.usecases.budgets.budgets import Settlements

# As many at a time share one commit.
_AT_ONCE = 128
_CONTROL_PLANE = "control-plane"


@dataclass(frozen=True, slots=True)
class ExpireGrants:
    """Closes overdue grants."""

    grants: GrantStore
    log: EventLog
    clock: Clock
    ids: Ids
    settlements: Settlements

    async def __call__(self) -> int:
        """Close every grant that is overdue, and return how many were.

        Raises:
            LogUnavailableError: it could not be recorded; what was not closed still is overdue.
        """
        closed = 0
        while True:
            now = self.clock.now_ns()
            overdue = await self.grants.overdue_grants(now_seconds=now // 1_000_000_000, limit=_AT_ONCE)
            closed += sum(await asyncio.gather(*(self._close(stored, now) for stored in overdue)))
            if len(overdue) < _AT_ONCE:
                return closed

    async def _close(self, stored: StoredGrant, now: int) -> bool:
        final = GrantState.EXPIRED_UNKNOWN
        event = grant_event(
            stored.grant,
            id=self.ids.event_id(),
            type=f"execution.{final.value}",
            now_ns=now,
            by=_CONTROL_PLANE,
            details={"redeemed": stored.state is GrantState.REDEEMED, "revoked": stored.revoked},
        )
        close = CloseGrant(stored.grant.id, seen=stored.state, final=final, report="")
        settled = await self.settlements.of_silence(stored.grant.decision_id, stored.grant.step_id, now_ns=now)
        try:
            await self.log.append_change(ChangeRecord((*settled.events, event), (close, *settled.changes)))
        except ContendedError:
            # Somebody reported in the last moment; that one counts.
            return False
        return True
