"""What has to be looked at again and again while the control plane runs: one round after the other, for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aisecops_server.domain.errors import AisecopsError

_logger = logging.getLogger(__name__)


class Rounds:
    """Runs ``work`` again and again, each time after a pause; a round that fails ends nothing and is tried again.

    ``work`` returns how many things it did; ``done`` and ``failed`` are how that, and a failure, are told in the
    process's own log.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[int]],
        *,
        done: str,
        failed: str,
        interval_seconds: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._work = work
        self._done = done
        self._failed = failed
        self._interval_seconds = interval_seconds
        self._pause = pause
        self._told = ""

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._round()
            await self._pause(self._interval_seconds)

    async def _round(self) -> None:
        try:
            count = await self._work()
        except AisecopsError as error:
            # Said once: the same line every few seconds would hide what else happened.
            if self._told != error.diagnostics():
                _logger.warning("%s: %s", self._failed, error.diagnostics())
            self._told = error.diagnostics()
        except Exception:
            # Rounds that ended themselves would leave open, or believed, what should not be, and nobody would know.
            _logger.exception("%s", self._failed)
        else:
            self._told = ""
            if count:
                _logger.info("%s: %d", self._done, count)
