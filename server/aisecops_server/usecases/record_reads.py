"""Puts on record who reads what is on record, before they get it.

A log that takes nothing keeps nobody from reading, because it is then that people have to look; what could not be
told is kept and told as soon as the log takes it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.event import Event, Stage, make_event
from aisecops_server.domain.reading import Reading, ToldReadings
from aisecops_server.ports import Clock, Ids
from aisecops_server.usecases.record_refusals import Recorder

# More than an hour of one person's work; the oldest are kept.
MOST_OWED = 1_000
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RecordReads:
    """Tells the log of readers."""

    log: Recorder
    clock: Clock
    ids: Ids
    _told: ToldReadings = field(default_factory=ToldReadings)
    _owed: list[Event] = field(default_factory=list)

    async def __call__(self, reading: Reading) -> None:
        """Put a reading on record, unless it was of late; one that the log does not take is owed to it."""
        now_ns = self.clock.now_ns()
        if not self._told.is_new(reading, now_ns):
            return
        if len(self._owed) < MOST_OWED:
            self._owed.append(self._event(reading, now_ns))
        else:
            _logger.error(
                "%s read by %s is not on record: too much is owed to the log", reading.call, reading.principal
            )
        await self.flush()

    async def flush(self) -> None:
        """Tell what is owed, in the order in which it was read, as far as the log takes it."""
        owed, self._owed = self._owed, []
        for number, event in enumerate(owed):
            try:
                await self.log.append_event(event)
            except AisecopsError as error:
                self._owed = [*owed[number:], *self._owed]
                _logger.warning("%s reads are not on record yet: %s", len(self._owed), error.message)
                return
            except BaseException:
                # Whoever goes away while it is told leaves it to be told.
                self._owed = [*owed[number:], *self._owed]
                raise

    def _event(self, reading: Reading, now_ns: int) -> Event:
        return make_event(
            id=self.ids.event_id(),
            trace_id="",
            plan_id="",
            decision_id="",
            stage=Stage.RUNTIME_CONTROL,
            type="evidence.read",
            occurred_at_ns=now_ns,
            details=reading.facts(),
        )
