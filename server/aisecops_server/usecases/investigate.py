"""Reads a trace as one story: its execution graph, and where its own records disagree. It only reads the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.execution_graph import (
    ExecutionGraph,
    RecordedDecision,
    RecordedEvent,
    execution_graph,
)
from aisecops_server.domain.governance_diff import GovernanceDiff, governance_diff
from aisecops_server.domain.record import StoredTrace
from aisecops_server.ports import EventLog

ReadStored = Callable[[bytes], Mapping[str, Any]]

# How many traces above one are followed; deeper chains are no chains that policy allows.
MOST_TRACES = 32


@dataclass(frozen=True, slots=True)
class Investigate:
    """Investigates traces. ``read`` parses the JSON that the log itself wrote."""

    log: EventLog
    read: ReadStored

    async def graph(self, trace_id: str, *, delegated: bool = True) -> ExecutionGraph:
        """Return the execution graph of a trace, with those of the traces that delegated to it.

        Raises:
            NotFoundError: there is no such trace.
        """
        traces = await self._traces(trace_id) if delegated else [await self.log.trace(trace_id)]
        return execution_graph(self._decisions(traces), self._events(traces))

    async def diff(self, trace_id: str) -> GovernanceDiff:
        """Return the stages of a trace side by side, and where they disagree.

        Raises:
            NotFoundError: there is no such trace.
        """
        traces = [await self.log.trace(trace_id)]
        return governance_diff(self._decisions(traces), self._events(traces))

    async def _traces(self, trace_id: str) -> list[StoredTrace]:
        """Return a trace and those above it, the topmost first."""
        found = {trace_id: await self.log.trace(trace_id)}
        waiting = _above(found[trace_id])
        while waiting and len(found) < MOST_TRACES:
            above = waiting.pop()
            if above in found:
                continue
            try:
                found[above] = await self.log.trace(above)
            except NotFoundError:
                # A chain is the caller's word; what policy thought of it stands in the decision.
                continue
            waiting += _above(found[above])
        return list(found.values())[::-1]

    def _decisions(self, traces: Sequence[StoredTrace]) -> list[RecordedDecision]:
        return [
            RecordedDecision(decision.receipt.event_id, decision.details, self.read(decision.document))
            for trace in traces
            for decision in trace.decisions
        ]

    def _events(self, traces: Sequence[StoredTrace]) -> list[RecordedEvent]:
        return [
            RecordedEvent(
                stored.event.id,
                type=stored.event.type,
                trace_id=stored.event.trace_id,
                decision_id=stored.event.decision_id,
                details=stored.event.details(),
            )
            for trace in traces
            for stored in trace.events
        ]


def _above(trace: StoredTrace) -> list[str]:
    named: list[str] = []
    for decision in trace.decisions:
        details: dict[str, Any] = dict(decision.details)
        named += [str(details.get("parent_trace_id", "")), *(str(link["trace_id"]) for link in details["delegation"])]
    return [name for name in dict.fromkeys(named) if name]
