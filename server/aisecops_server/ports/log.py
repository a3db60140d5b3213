"""The event log: what was decided and done, and how it is read again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.event import Event, StoredEvent
from aisecops_server.domain.log.record import (
    ChangeRecord,
    DecisionRecord,
    LogHead,
    LogReport,
    PlacedEvent,
    Receipt,
    StoredDecision,
    StoredTrace,
    TraceFilter,
    TracePage,
)
from aisecops_server.domain.traces.trace_facets import TraceFacets
from aisecops_server.domain.traces.trace_outline import TraceOutline


class EventLog(Protocol):
    """The append-only record. Whatever ``append`` acknowledged is durable."""

    async def append(self, record: DecisionRecord) -> Receipt:
        """Store one decision.

        Raises:
            LogUnavailableError: it could not be made durable (``SealedError`` when the log is sealed).
            IdempotencyConflictError: the key was used for another request.
            AisecopsError: the condition of one of its changes does not hold; then nothing of it is stored.
        """
        ...

    async def append_many(self, records: Sequence[DecisionRecord]) -> list[Receipt | AisecopsError]:
        """Store many decisions in one or few commits; results in their order."""
        ...

    async def append_event(self, event: Event) -> Receipt:
        """Store one event about the control plane itself or about a refused request."""
        ...

    async def append_change(self, record: ChangeRecord) -> Receipt:
        """Store events with the changes of state that they tell of, or neither.

        Raises:
            LogUnavailableError: they could not be made durable.
            AisecopsError: the condition of a change does not hold; the change says which error that is.
        """
        ...

    async def replayed(self, principal_id: str, key: str) -> StoredDecision | None:
        """Return the decision stored under an idempotency key, if any."""
        ...

    async def decision(self, decision_id: str) -> StoredDecision:
        """Return one decision.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def trace(self, trace_id: str) -> StoredTrace:
        """Return everything under one trace id.

        Raises:
            NotFoundError: there is nothing.
        """
        ...

    async def outline(self, trace_id: str) -> TraceOutline:
        """Return what the rows of a trace say, which of a long one is read sooner than everything.

        Raises:
            NotFoundError: there is nothing.
        """
        ...

    async def event(self, trace_id: str, event_id: str) -> PlacedEvent:
        """Return one event of a trace, with its decision.

        Raises:
            NotFoundError: the trace has no such event.
        """
        ...

    async def traces(self, narrow: TraceFilter, *, page_size: int, page_token: str) -> TracePage:
        """Return a page of traces, newest first.

        Raises:
            InvalidRequestError: the page token was not made by this log.
        """
        ...

    async def facets(self, narrow: TraceFilter, fields: Sequence[str]) -> TraceFacets:
        """Return how many traces match, and of each of ``fields`` (of ``FACETS``) how many have each value.

        Counting ends after the newest ``MOST_COUNTED``.
        """
        ...

    def events(self, *, from_index: int, follow: bool, trace_id: str) -> AsyncGenerator[StoredEvent, None]:
        """Yield events in log order from an index on; with ``follow``, go on as they are appended."""
        ...

    async def head(self) -> LogHead:
        """Return the log's size and Merkle root."""
        ...

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> LogReport:
        """Recompute every leaf and the root; ``progress`` is called with (done, total) leaves."""
        ...

    @property
    def sealed(self) -> str:
        """Return why the log is sealed, or an empty string when it is writable."""
        ...

    def seal(self, why: str) -> None:
        """Take nothing any more; only a restart that finds nothing wrong takes this back."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and close."""
        ...


class ProvenLog(Protocol):
    """What a log can prove of itself. Sizes may be any that the log once had."""

    async def identity(self) -> str:
        """Return 32 hexadecimal digits that no other log has."""
        ...

    async def head(self) -> LogHead:
        """Return the log's size and Merkle root."""
        ...

    async def head_at(self, size: int) -> LogHead:
        """Return the head that the log had with ``size`` leaves.

        Raises:
            InvalidRequestError: it never had so many.
        """
        ...

    async def inclusion(self, index: int, *, size: int) -> list[bytes]:
        """Return the audit path of an event in the tree of that size.

        Raises:
            InvalidRequestError: there is no such event in it.
        """
        ...

    async def consistency(self, old_size: int, *, size: int) -> list[bytes]:
        """Return the proof that the log of ``size`` extends that of ``old_size``; empty from size 0.

        Raises:
            InvalidRequestError: the log never had one of the sizes.
        """
        ...

    async def rotations(self) -> list[StoredEvent]:
        """Return the events in which its key was followed by another, oldest first."""
        ...
