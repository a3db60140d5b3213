"""The seams of what shows that the product does what it says: the log for reading, and nothing that could change it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from aisecops_server.domain.compliance.compliance_state import Sighting
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.formats.signed_note import Note


class ReadableLog(Protocol):
    """The record, to be looked at."""

    @property
    def sealed(self) -> str:
        """Return why the log is sealed, or an empty string when it is writable."""
        ...

    def events(self, *, from_index: int, follow: bool, trace_id: str) -> AsyncGenerator[StoredEvent, None]:
        """Yield events in log order from an index on; with ``follow``, go on as they are appended."""
        ...


class LatestCheckpoint(Protocol):
    """What the log committed to last."""

    async def latest(self) -> Note | None:
        """Return the latest checkpoint with all its signatures."""
        ...


class KindCounts(Protocol):
    """Which kinds of events the log holds."""

    async def kinds(self, *, most: int) -> tuple[int, Sequence[Sighting]]:
        """Return how many of the latest events were read, at most ``most``, and what kinds were among them."""
        ...


class LastLook(Protocol):
    """Where in the log the last report on drift stands, for after a restart."""

    async def load(self) -> int | None:
        """Return its index, if there is one."""
        ...

    async def save(self, index: int) -> None:
        """Replace it, durably."""
        ...
