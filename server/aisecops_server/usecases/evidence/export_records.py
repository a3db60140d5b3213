"""Events of the log in the formats of other systems. It reads the log and nothing else, and writes nothing.

What leaves is decided in one place (``domain.exports.record``); who may have payload, by whoever calls this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.exports.lines import event_lines, trace_lines
from aisecops_server.domain.exports.record import Exported, ExportFormat, exported
from aisecops_server.ports import EventLog

MOST_TRACES = 500


@dataclass(frozen=True, slots=True)
class EventExport:
    """Which events: from an index on, or what happened since a time (Unix nanoseconds)."""

    form: ExportFormat
    from_index: int = 0
    since_ns: int = 0
    follow: bool = False
    with_payload: bool = False
    after_leaf_hash: str = ""


@dataclass(frozen=True, slots=True)
class ExportRecords:
    """Exports events and traces of ``log``, whose name is ``origin``; ``producer`` is our version."""

    log: EventLog
    origin: str
    producer: str

    async def events(self, asked: EventExport) -> AsyncIterator[tuple[StoredEvent, bytes]]:
        """Yield each event with the lines that it makes.

        Raises:
            InvalidRequestError: the format is about whole traces, or the log is not the one that was exported from.
        """
        if not asked.form.is_of_events:
            raise InvalidRequestError(
                f"{asked.form} is about whole traces", hint="'aisecops trace export' makes it", field="format"
            )
        first = asked.from_index or (await self._first_since(asked.since_ns) if asked.since_ns else 0)
        if asked.after_leaf_hash:
            await self._require_same_log(asked)
        events = self.log.events(from_index=first, follow=asked.follow, trace_id="")
        async with aclosing(events):
            async for stored in events:
                yield stored, event_lines(self._exported(stored, with_payload=asked.with_payload), asked.form)

    async def traces(self, trace_ids: Sequence[str], form: ExportFormat, *, with_payload: bool) -> bytes:
        """Return whole traces in a format.

        Raises:
            InvalidRequestError: none or too many are named.
            NotFoundError: one does not exist.
        """
        named = list(dict.fromkeys(trace_ids))
        if not 1 <= len(named) <= MOST_TRACES:
            raise InvalidRequestError(
                f"{len(named)} traces are named, 1 to {MOST_TRACES} can be", hint="Export in parts", field="trace_ids"
            )
        found = [stored for trace_id in named for stored in (await self.log.trace(trace_id)).events]
        return trace_lines([self._exported(stored, with_payload=with_payload) for stored in found], form)

    def _exported(self, stored: StoredEvent, *, with_payload: bool) -> Exported:
        return exported(stored, origin=self.origin, producer=self.producer, with_payload=with_payload)

    async def _require_same_log(self, asked: EventExport) -> None:
        last = await self._at(asked.from_index - 1) if asked.from_index else None
        if last is None or last.leaf_hash.hex() != asked.after_leaf_hash:
            raise InvalidRequestError(
                f"the log has another event before {asked.from_index} than the one that was exported",
                hint="It is another log, or an older copy of it; export it anew under another cursor",
                field="after_leaf_hash",
            )

    async def _first_since(self, since_ns: int) -> int:
        """Return the first index at or after a time; times rise along the log but for what appending took."""
        low, high = 0, (await self.log.head()).size
        while low < high:
            middle = (low + high) // 2
            stored = await self._at(middle)
            if stored is None or stored.event.occurred_at_ns >= since_ns:
                high = middle
            else:
                low = middle + 1
        return low

    async def _at(self, index: int) -> StoredEvent | None:
        events = self.log.events(from_index=index, follow=False, trace_id="")
        async with aclosing(events):
            async for stored in events:
                return stored
        return None
