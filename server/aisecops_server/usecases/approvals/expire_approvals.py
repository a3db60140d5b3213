"""Notes when the time of requests is over, so that it is on record and whoever waits hears of it.

Nothing depends on its being punctual: what is not in time is not open, whether or not that was noted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from aisecops_server.domain.approvals.approval import ApprovalState
from aisecops_server.domain.approvals.approval_changes import CloseApproval
from aisecops_server.domain.approvals.approval_events import closed_event
from aisecops_server.domain.errors import AisecopsError, ContendedError
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.approvals import ApprovalStore

CONTROL_PLANE = "control plane"
_AT_ONCE = 64
# A clock may jump; then what is due is not when it was thought to be.
_LONGEST_SECONDS = 30.0
_AFTER_FAILURE_SECONDS = 5.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExpireApprovals:
    """Ends what is open beyond its time."""

    log: EventLog
    store: ApprovalStore
    clock: Clock
    ids: Ids

    async def run(self) -> None:
        """Go on until cancelled."""
        with self.store.watching("") as changed:
            while True:
                changed.clear()
                pause = await self._round()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await changed.wait()

    async def __call__(self) -> int:
        """End everything that is due; return how much that was.

        Raises:
            LogUnavailableError: it cannot be recorded; it stays as it was, and is not usable all the same.
        """
        ended = 0
        while due := await self.store.overdue(self.clock.now_ns() // 1_000_000_000, limit=_AT_ONCE):
            for approval in due:
                now_ns = self.clock.now_ns()
                change = CloseApproval(
                    approval_id=approval.id,
                    seen=approval.version,
                    state=ApprovalState.EXPIRED,
                    by=CONTROL_PLANE,
                    note="",
                    at_seconds=now_ns // 1_000_000_000,
                )
                event = closed_event(approval, change, id=self.ids.event_id(), now_ns=now_ns)
                with contextlib.suppress(ContendedError):
                    await self.log.append_change(ChangeRecord((event,), (change,)))
                    ended += 1
        return ended

    async def _round(self) -> float:
        try:
            await self()
            end = await self.store.next_end()
        except AisecopsError as error:
            _logger.warning("requests for approval were not ended: %s", error.diagnostics())
            return _AFTER_FAILURE_SECONDS
        left = _LONGEST_SECONDS if end is None else end - self.clock.now_ns() / 1e9
        return min(_LONGEST_SECONDS, max(0.0, left))
