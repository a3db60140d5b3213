"""Decisions as spans, told to a collector: after they are on record, never before, and in nobody's way.

The log is the queue. What the collector does not take is tried again from the same place, also after a restart, and
ids of spans are made of ours, so what is told twice is the same span. A collector that is away costs nothing but the
spans that wait in the log.

Ordering rules: the log's order; the position is kept only once everything before it is taken. The events of a decision
stand together, so what comes after its conclusion is no part of its span.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.event import CONCLUDED, StoredEvent
from aisecops_server.domain.exports.otlp_trace import otlp_request
from aisecops_server.domain.exports.record import Exported, exported
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.ports.assurance import ReadableLog
from aisecops_server.ports.telemetry import Collector, Position, PositionStore

ROUND_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
MOST_DECISIONS = 100
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class TellCollector:
    """Tells a collector of decisions. ``origin`` is the log's name, ``producer`` our version."""

    log: ReadableLog
    collector: Collector
    store: PositionStore
    size: Callable[[], Awaitable[int]]
    origin: str
    producer: str
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """Tell until cancelled. Without a position that fits this log it begins with what happens from now on."""
        at = await self.start()
        while True:
            try:
                at = await self.round(at)
            except AisecopsError as error:
                _logger.warning("spans wait in the log: %s", error.diagnostics())
            await self.pause(ROUND_SECONDS)

    async def start(self) -> int:
        """Return the index of the first event that was not told."""
        kept, size = self.store.load(), await self.size()
        if kept is None or kept.size > size:
            return size
        async with aclosing(self.log.events(from_index=kept.size - 1, follow=False, trace_id="")) as events:
            async for stored in events:
                return kept.size if stored.leaf_hash.hex() == kept.leaf_hash else size
        return size

    async def round(self, at: int) -> int:
        """Tell what is in the log from an index on; return the index of what comes next.

        Raises:
            AisecopsError: the log cannot be read, or the position not kept; what was told may be told again.
        """
        own: list[Exported] = []
        requests: list[Mapping[str, JsonValue]] = []
        last: StoredEvent | None = None
        async with aclosing(self.log.events(from_index=at, follow=False, trace_id="")) as events:
            async for stored in events:
                last = stored
                item = exported(stored, origin=self.origin, producer=self.producer, with_payload=False)
                own = [other for other in own if other.stored.event.decision_id == stored.event.decision_id] + [item]
                if stored.event.type == CONCLUDED:
                    requests.append(otlp_request(own))
                if len(requests) == MOST_DECISIONS:
                    await self._handed_over(requests, stored)
                    requests = []
        if last is not None:
            await self._handed_over(requests, last)
        return at if last is None else last.index + 1

    async def _handed_over(self, requests: list[Mapping[str, JsonValue]], last: StoredEvent) -> None:
        pause, told = FIRST_PAUSE_SECONDS, ""
        whole = _joined(requests)
        while requests and (problem := await self.collector.take(whole)):
            if problem != told:
                _logger.warning("spans wait in the log: the collector %s", problem)
            told = problem
            await self.pause(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
        if told:
            _logger.info("the collector takes spans again")
        self.store.keep(Position(last.index + 1, last.leaf_hash.hex()))


def _joined(requests: list[Mapping[str, JsonValue]]) -> Mapping[str, JsonValue]:
    spans: list[JsonValue] = []
    for request in requests:
        held = request["resourceSpans"]
        spans.extend(held if isinstance(held, list) else ())
    return {"resourceSpans": spans}
