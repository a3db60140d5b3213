"""Recorded traces in, stored traces out: what `evaluate_traces` decides later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from aisecops_server.domain.recordings.recorded_trace import RecordedTrace
from aisecops_server.ports import RecordedTraces

_TOGETHER = 200


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import brought."""

    traces: int
    new: int
    calls: int


@dataclass(frozen=True, slots=True)
class ImportTraces:
    """Stores recorded traces; a trace that is there already is joined with what is new about it."""

    store: RecordedTraces

    async def __call__(
        self, traces: Iterable[RecordedTrace], progress: Callable[[int], None] | None = None
    ) -> Imported:
        """Store ``traces``; ``progress`` is called with how many are stored.

        Raises:
            InvalidRequestError: the source of the traces is malformed; what was read before it is kept.
            LogUnavailableError: they could not be stored.
        """
        new = calls = 0
        seen: set[str] = set()
        for group in _groups(iter(traces)):
            new += await self.store.add(group)
            seen.update(trace.trace_id for trace in group)
            calls += sum(len(trace.calls) for trace in group)
            if progress is not None:
                progress(len(seen))
        return Imported(traces=len(seen), new=new, calls=calls)


def _groups(traces: Iterator[RecordedTrace]) -> Iterator[list[RecordedTrace]]:
    while group := list(islice(traces, _TOGETHER)):
        yield group
