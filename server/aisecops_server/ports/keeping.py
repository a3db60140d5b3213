"""The seam of what is kept and erased: reading it. Changes go through the log, with the events that tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aisecops_server.domain.log.record import TraceSummary
from aisecops_server.domain.retention.keeping import Hold


class KeepingStore(Protocol):
    """Holds, and what was not erased yet."""

    async def unerased(self, *, last_before_ns: int, after: int, limit: int) -> list[tuple[int, TraceSummary]]:
        """Return traces that nothing was added to since then, with their numbers, from behind ``after`` on.

        Traces of which everything is erased are left out.
        """
        ...

    async def last_index(self, trace_id: str) -> int:
        """Return the log index of the newest event of a trace.

        Raises:
            NotFoundError: there is no such trace.
        """
        ...

    async def holds(self, *, released: bool) -> list[Hold]:
        """Return the holds that last, oldest first; with ``released``, also those that do not."""
        ...

    async def hold(self, hold_id: str) -> Hold:
        """Return one hold.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def holding(self, trace: TraceSummary) -> list[str]:
        """Return the ids of the holds that name a trace or one of its agents."""
        ...

    def is_overwritten(self) -> bool:
        """Return whether nothing that was erased stands in the files of the store any more."""
        ...


class Copies(Protocol):
    """What others made of the record and can be made again: it is dropped when something of it was erased."""

    async def forget(self, trace_ids: Sequence[str]) -> None:
        """Drop whatever was made of these traces."""
        ...
