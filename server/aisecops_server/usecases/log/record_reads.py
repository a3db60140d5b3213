"""Puts on record who reads what is on record, before they get it.

A log that takes nothing keeps nobody from reading, because it is then that people have to look; what could not be
told is kept and told as soon as the log takes it. That is told under another id each time, because what was said not
to be stored may be there all the same, and a log takes no id twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.event import Event, control_event
from aisecops_server.domain.log.reading import Reading, ToldReadings
from aisecops_server.ports import Clock, Ids
from aisecops_server.usecases.log.record_refusals import Recorder

# More than an hour of one person's work; the oldest are kept.
MOST_OWED = 1_000
_AGAIN_SECONDS = 1.0
_logger = logging.getLogger(__name__)

# What was read, and when, in Unix nanoseconds.
_Owed = tuple[Reading, int]


@dataclass(slots=True)
class RecordReads:
    """Tells the log of readers."""

    log: Recorder
    clock: Clock
    ids: Ids
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    _told: ToldReadings = field(default_factory=ToldReadings)
    _owed: list[_Owed] = field(default_factory=list)
    _is_owed: asyncio.Event = field(default_factory=asyncio.Event)
    _warned_of: int = 0
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def __call__(self, reading: Reading) -> None:
        """Put a reading on record, unless it was of late; one that the log does not take is owed to it."""
        now_ns = self.clock.now_ns()
        if self._told.is_new(reading, now_ns):
            self._owed.append((reading, now_ns))
            await self.flush()

    async def run(self) -> None:
        """Tell what is owed, until cancelled."""
        while True:
            await self._is_owed.wait()
            await self.wait(_AGAIN_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Tell what is owed, in the order in which it was read, as far as the log takes it.

        Once begun it goes on to its end, also when the caller leaves: whoever hangs up in time would be told of twice,
        or never.
        """
        task = asyncio.ensure_future(self._flushed())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def _flushed(self) -> None:
        owed, self._owed = self._owed, []
        self._is_owed.clear()
        for number, (reading, at_ns) in enumerate(owed):
            try:
                await self.log.append_event(self._event(reading, at_ns))
            except AisecopsError as error:
                self._keep(owed[number:], error.message)
                return
            except BaseException:
                self._keep(owed[number:], "what records them failed")
                raise
        self._warned_of = len(self._owed)

    def _keep(self, owed: Sequence[_Owed], why: str) -> None:
        every = [*owed, *self._owed]
        self._owed = every[:MOST_OWED]
        self._is_owed.set()
        for reading, _ in every[MOST_OWED:]:
            self._told.forget(reading)
            _logger.error(
                "%s read by %s is not on record: too much is owed to the log", reading.call, reading.principal
            )
        # Said when there are more: it is tried again all the time.
        if len(self._owed) > self._warned_of:
            _logger.warning("%s reads are not on record yet: %s", len(self._owed), why)
        self._warned_of = len(self._owed)

    def _event(self, reading: Reading, at_ns: int) -> Event:
        return control_event("evidence.read", reading.facts(), id=self.ids.event_id(), now_ns=at_ns)
