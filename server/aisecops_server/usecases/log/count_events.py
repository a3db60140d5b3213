"""Follows the log and counts what it tells, without payload. It reads and writes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from aisecops_server.domain.bundles.channel_standing import ChannelStanding
from aisecops_server.domain.events.event import details_in
from aisecops_server.domain.figures.metrics import EventCounts
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.replays.drift import DriftReport
from aisecops_server.ports.assurance import ReadableLog


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is counted and known now. ``sealed`` says whether the log is, ``channel`` how the channel stands.

    ``keyless`` says that no grant can be signed here, ``missing`` of each other key whether it is not here.
    """

    counts: EventCounts
    log_events: int
    sealed: bool
    drift: DriftReport | None
    channel: ChannelStanding | None = None
    keyless: bool = False
    missing: Mapping[str, bool] = field(default_factory=dict)


def _no_channel() -> None:
    """Return that no channel is followed."""


def _no_problem() -> str:
    """Return that nothing keeps grants from being signed."""
    return ""


@dataclass(frozen=True, slots=True)
class CountEvents:
    """Counts events; ``drift`` gives the last report on it, ``channel`` how the channel stands.

    ``signing`` says why no grant can be signed, ``missing`` of each other key why it signs nothing.
    """

    log: ReadableLog
    head: Callable[[], Awaitable[LogHead]]
    drift: Callable[[], DriftReport | None]
    channel: Callable[[], ChannelStanding | None] = _no_channel
    signing: Callable[[], str] = _no_problem
    missing: Callable[[], Mapping[str, str]] = dict
    counts: EventCounts = field(default_factory=EventCounts)

    async def run(self, *, from_index: int) -> None:
        """Count from an index on, until cancelled or the log closes."""
        events = self.log.events(from_index=from_index, follow=True, trace_id="")
        async with aclosing(events):
            async for stored in events:
                event = stored.event
                self.counts.add(event.type, event.decision_id, details_in(event.type, event.body, None))

    async def snapshot(self) -> Snapshot:
        """Return what is counted and known now."""
        head = await self.head()
        sealed, keyless = bool(self.log.sealed), bool(self.signing())
        missing = {key: bool(problem) for key, problem in self.missing().items()}
        return Snapshot(self.counts, head.size, sealed, self.drift(), self.channel(), keyless, missing)
