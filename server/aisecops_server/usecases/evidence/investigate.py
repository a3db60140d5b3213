"""Reads a trace as one story: its execution graph, and where its own records disagree. It only reads the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.log.record import StoredTrace
from aisecops_server.domain.traces.execution_graph import (
    ExecutionGraph,
    RecordedDecision,
    RecordedEvent,
    execution_graph,
)
from aisecops_server.domain.traces.governance_diff import GovernanceDiff, governance_diff
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
        return self.diff_of(await self.log.trace(trace_id))

    def graph_of(self, trace: StoredTrace) -> ExecutionGraph:
        """Return the execution graph of a trace that was read, by itself."""
        return execution_graph(self._decisions([trace]), self._events([trace]))

    def diff_of(self, trace: StoredTrace) -> GovernanceDiff:
        """Return where the records of a trace that was read disagree."""
        return governance_diff(self._decisions([trace]), self._events([trace]))

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
            RecordedDecision(
                decision.receipt.event_id,
                decision.details,
                self.read(decision.document) if decision.document else _left(decision.details, trace),
            )
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


def _left(details: Mapping[str, Any], trace: StoredTrace) -> Mapping[str, Any]:
    """Return what the log still tells of an erased document: which steps there were, and of which tools."""
    if "screening" in details:
        return {"kind": "screen", "erased": True}
    told = [
        stored.event.details().get("steps", [])
        for stored in trace.events
        if stored.event.type == "plan.received" and stored.event.decision_id == details["decision_id"]
    ]
    unknown: dict[str, list[Any]] = {"depends_on": [], "influenced_by": [], "values": []}
    steps = [{**unknown, "id": step["id"], "tool": step["tool"]} for part in told for step in part]
    return {"plan": {"intent": "", "steps": steps}, "erased": True}


def _above(trace: StoredTrace) -> list[str]:
    named: list[str] = []
    for decision in trace.decisions:
        details: dict[str, Any] = dict(decision.details)
        named += [str(details.get("parent_trace_id", "")), *(str(link["trace_id"]) for link in details["delegation"])]
    return [name for name in dict.fromkeys(named) if name]
