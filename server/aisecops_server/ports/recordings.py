"""Traces that others recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aisecops_server.domain.recordings.recorded_trace import Evaluation, RecordedTrace, Tally


class RecordedTraces(Protocol):
    """Traces that agents' own telemetry recorded, and what policy said of their calls. Not evidence."""

    async def add(self, traces: Sequence[RecordedTrace]) -> int:
        """Store traces, joining them with what is there; return how many were new."""
        ...

    async def page(self, *, after: str, limit: int) -> list[RecordedTrace]:
        """Return traces in the order of their ids, starting behind ``after``."""
        ...

    async def calls(self) -> int:
        """Return how many calls all traces have."""
        ...

    async def evaluated(self, revision: str, trace_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Return which calls of these traces were decided on ``revision``, as (trace id, span id)."""
        ...

    async def record(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations durably; a later one of the same call on the same revision replaces an earlier one."""
        ...

    async def evaluations(self, revision: str) -> list[Evaluation]:
        """Return every evaluation on ``revision``, by trace and span."""
        ...

    async def revisions(self) -> list[str]:
        """Return every revision on which something was evaluated, sorted."""
        ...

    async def tallies(self, revision: str) -> list[Tally]:
        """Return how often which outcome came up, by agent, tool and rules."""
        ...

    async def close(self) -> None:
        """Finish and close."""
        ...
