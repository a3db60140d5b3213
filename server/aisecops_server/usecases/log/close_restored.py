"""What follows a restored log: what was open in it counts no more, and the log says that it was restored.

A log that is older than what happened forgets what was used since: an approval that a plan used up would stand open
again. So everything open is taken back before anybody is answered, and people are asked anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.events.event import Event, Stage, control_event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.grants.grant import GrantState
from aisecops_server.domain.grants.grant_changes import RevokeGrants
from aisecops_server.domain.log.backup import Backup
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.approvals import ApprovalStore
from aisecops_server.ports.grants import GrantStore
from aisecops_server.usecases.approvals.approvals import withdrawal

_AT_ONCE = 500
_END_OF_TIME = 2**53
_MOST_GRANTS = 2**31
_NOTE = "the log was restored from a backup"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was taken back, and the leaf that tells of it."""

    approvals: int
    grants: int
    log_index: int


@dataclass(frozen=True, slots=True)
class CloseRestored:
    """Takes back what is open and records that a log was restored."""

    log: EventLog
    approvals: ApprovalStore
    grants: GrantStore
    clock: Clock
    ids: Ids

    async def __call__(self, backup: Backup, *, by: Principal, reason: str, missing: int) -> Restored:
        """Close what is open; ``missing`` is how many entries are known to be lost, at least.

        Raises:
            LogUnavailableError: it could not be recorded.
        """
        withdrawn = await self._withdraw(by)
        revoked = await self._revoke(by, reason)
        details: dict[str, JsonValue] = {
            "principal": by.id,
            "reason": reason,
            "backup_made_at_seconds": backup.made_at_seconds,
            "backup_size": backup.head.size,
            "backup_root": backup.head.root.hex(),
            "entries_missing_at_least": missing,
            "approvals_withdrawn": withdrawn,
            "grants_revoked": revoked,
        }
        receipt = await self.log.append_event(self._event("log.restored", Stage.RUNTIME_CONTROL, details))
        return Restored(withdrawn, revoked, receipt.log_index)

    async def _revoke(self, by: Principal, reason: str) -> int:
        unclosed = await self.grants.overdue_grants(now_seconds=_END_OF_TIME, limit=_MOST_GRANTS)
        usable = tuple(
            stored.grant.id for stored in unclosed if stored.state is GrantState.ISSUED and not stored.revoked
        )
        if usable:
            details: dict[str, JsonValue] = {"principal": by.id, "reason": reason, "agent": "", "grants": list(usable)}
            event = self._event("grant.revoked", Stage.EXECUTION, details)
            await self.log.append_change(ChangeRecord((event,), (RevokeGrants(usable),)))
        return len(usable)

    def _event(self, type: str, stage: Stage, details: Mapping[str, JsonValue]) -> Event:
        return control_event(type, details, id=self.ids.event_id(), now_ns=self.clock.now_ns(), stage=stage)

    async def _withdraw(self, by: Principal) -> int:
        """Close what is stored as open, in time or not: a clock that is behind would find it in time later."""
        count = 0
        while stored := await self.approvals.overdue(_END_OF_TIME, limit=_AT_ONCE):
            for approval in stored:
                told = withdrawal(approval, by=by, note=_NOTE, now_ns=self.clock.now_ns(), id=self.ids.event_id())
                await self.log.append_change(told)
            count += len(stored)
        return count
