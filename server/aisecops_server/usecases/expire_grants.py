"""The end of grants of which nobody said what came of them: they are closed as unknown, so that none stays open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aisecops_server.domain.errors import AisecopsError, ContendedError
from aisecops_server.domain.execution import grant_event
from aisecops_server.domain.grant import GrantState, StoredGrant
from aisecops_server.domain.grant_changes import CloseGrant
from aisecops_server.domain.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.usecases.grant_ports import GrantStore

# As many at a time share one commit.
_AT_ONCE = 128
_CONTROL_PLANE = "control-plane"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExpireGrants:
    """Closes overdue grants."""

    grants: GrantStore
    log: EventLog
    clock: Clock
    ids: Ids

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
        try:
            await self.log.append_change(ChangeRecord((event,), (close,)))
        except ContendedError:
            # Somebody reported in the last moment; that one counts.
            return False
        return True


class Reaper:
    """Runs ``expire`` again and again, each time after a pause."""

    def __init__(
        self,
        expire: Callable[[], Awaitable[int]],
        *,
        interval_seconds: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._expire = expire
        self._interval_seconds = interval_seconds
        self._pause = pause
        self._told = ""

    async def run(self) -> None:
        """Expire until cancelled."""
        while True:
            await self._once()
            await self._pause(self._interval_seconds)

    async def _once(self) -> None:
        try:
            closed = await self._expire()
        except AisecopsError as error:
            # Said once: the same line every few seconds would hide what else happened.
            if self._told != error.diagnostics():
                _logger.warning("overdue grants were not closed: %s", error.diagnostics())
            self._told = error.diagnostics()
        except Exception:
            # A reaper that ended would leave grants silently open.
            _logger.exception("overdue grants were not closed")
        else:
            self._told = ""
            if closed:
                _logger.info("%d grants ended without a report", closed)
