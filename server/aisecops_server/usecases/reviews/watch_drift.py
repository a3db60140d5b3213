"""Looks for drift again and again, records what was found, and keeps the last report.

The look itself can do nothing but look (``check_drift``). Here its report becomes one event of the log, no more. After
a restart the last report is read back from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.event import Event, control_event
from aisecops_server.domain.log.record import Receipt
from aisecops_server.domain.replays.drift import DriftReport, report_in
from aisecops_server.ports import Clock, Ids
from aisecops_server.ports.assurance import LastLook, ReadableLog
from aisecops_server.usecases.replays.check_drift import CheckDrift

_logger = logging.getLogger(__name__)
# After a start, decisions that somebody waits for come first.
FIRST_PAUSE_SECONDS = 60.0
_CHECKED, _FOUND = "drift.checked", "drift.found"

Record = Callable[[Event], Awaitable[Receipt]]


@dataclass(slots=True)
class WatchDrift:
    """Watches for drift. ``revisions`` gives those to judge by; ``record`` is all that it can write with."""

    check: CheckDrift
    revisions: Callable[[], Sequence[tuple[str, str]]]
    record: Record
    clock: Clock
    ids: Ids
    interval_seconds: float
    log: ReadableLog
    place: LastLook
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    last: DriftReport | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def recall(self) -> None:
        """Read the last report back. One that cannot be read is as if there were none: the next look makes another."""
        try:
            index = await self.place.load()
            if index is None:
                return
            async with contextlib.aclosing(self.log.events(from_index=index, follow=False, trace_id="")) as events:
                async for stored in events:
                    if stored.event.type in (_CHECKED, _FOUND):
                        self.last = report_in(stored.event.details())
                    return
        except AisecopsError as error:
            _logger.warning("the last report on drift cannot be read: %s", error.diagnostics())
        except (KeyError, TypeError, ValueError):
            _logger.warning("event %s is no report on drift", index)

    async def run(self) -> None:
        """Look until cancelled."""
        await self.pause(min(FIRST_PAUSE_SECONDS, self.interval_seconds))
        while True:
            try:
                await self.now(asked_by="control-plane")
            except AisecopsError as error:
                _logger.warning("drift was not looked for: %s", error.diagnostics())
            except Exception:
                # A watch that ended itself would say for ever that nothing drifted.
                _logger.exception("drift was not looked for")
            await self.pause(self.interval_seconds)

    async def now(self, *, asked_by: str) -> DriftReport:
        """Look now, record what was found, and return it; one look at a time.

        Raises:
            LogUnavailableError, IntegrityError: history cannot be read, or the report not be recorded.
        """
        async with self._turn:
            report = await self.check(self.revisions())
            self.last = report
            receipt = await self.record(self._event(report, asked_by))
            await self.place.save(receipt.log_index)
            if report.found:
                _logger.warning("drift was found; 'aisecops drift show' says what")
            return report

    def _event(self, report: DriftReport, asked_by: str) -> Event:
        return control_event(
            _FOUND if report.found else _CHECKED,
            {"principal": asked_by, **report.as_json()},
            id=self.ids.event_id(),
            now_ns=self.clock.now_ns(),
        )
