"""What ends things whose time is over, again and again, so that none stays open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aisecops_server.domain.errors import AisecopsError

_logger = logging.getLogger(__name__)


class Reaper:
    """Runs ``expire`` again and again, each time after a pause; ``what`` names the things that it ends."""

    def __init__(
        self,
        expire: Callable[[], Awaitable[int]],
        *,
        what: str,
        interval_seconds: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.what = what
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
            ended = await self._expire()
        except AisecopsError as error:
            # Said once: the same line every few seconds would hide what else happened.
            if self._told != error.diagnostics():
                _logger.warning("overdue %s were not ended: %s", self.what, error.diagnostics())
            self._told = error.diagnostics()
        except Exception:
            # A reaper that ended itself would leave them silently open.
            _logger.exception("overdue %s were not ended", self.what)
        else:
            self._told = ""
            if ended:
                _logger.info("%d %s ended without a report", ended, self.what)
