"""Puts on record who was turned away at the door, without letting them fill it.

Noting never waits and never fails, because a refusal must not depend on the record; what could not be written is
counted on and written later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from aisecops_server.domain.callers.refusal import Pause, Refusal, RefusalTally
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.event import Event, Stage, control_event
from aisecops_server.ports import Clock, Ids

_logger = logging.getLogger(__name__)


class Recorder(Protocol):
    """Where it is told."""

    async def append_event(self, event: Event, /) -> Any:
        """Record one event."""
        ...


@dataclass(slots=True)
class RecordRefusals:
    """Counts refusals and tells of them in the log."""

    log: Recorder
    clock: Clock
    ids: Ids
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    _tally: RefusalTally = field(default_factory=RefusalTally)
    _noted: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, refusal: Refusal) -> None:
        """Count one refusal."""
        self._tally.add(refusal, self.clock.now_ns())
        self._noted.set()

    async def run(self) -> None:
        """Tell of refusals until cancelled."""
        pause = Pause()
        while True:
            await self._noted.wait()
            await self.flush()
            await self.wait(pause.next())
            if not self._noted.is_set():
                pause.rest()

    async def flush(self) -> None:
        """Tell of what was counted, if anything; what cannot be told now stays counted."""
        self._noted.clear()
        if not self._tally.total:
            return
        tally, self._tally = self._tally, RefusalTally()
        try:
            await self.log.append_event(self._event(tally))
        except AisecopsError as error:
            _logger.warning("%s refused callers are not on record yet: %s", tally.total, error.message)
            self._tally.join(tally)
            self._noted.set()

    def _event(self, tally: RefusalTally) -> Event:
        return control_event(
            "identity.refused", tally.facts(), id=self.ids.event_id(), now_ns=self.clock.now_ns(), stage=Stage.IDENTITY
        )
