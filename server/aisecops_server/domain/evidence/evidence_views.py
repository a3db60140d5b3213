"""What a package adds to its events for whoever reads them: who agreed to what, and each trace as one story.

All of it follows from the events and documents of the package; nothing here is proof, and a verifier reads none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.traces.execution_graph import ExecutionGraph
from aisecops_server.domain.traces.governance_diff import GovernanceDiff

_REQUESTED, _VOTED = "approval.requested", "approval.voted"
_ENDS = ("approval.consumed", "approval.withdrawn", "approval.expired")


@dataclass(frozen=True, slots=True)
class Story:
    """One trace: its execution graph, and where its own records disagree."""

    trace_id: str
    graph: ExecutionGraph
    diff: GovernanceDiff


@dataclass(slots=True)
class _Asked:
    request: Mapping[str, Any]
    votes: list[JsonValue] = field(default_factory=list)
    end: str = ""
    log_indexes: list[JsonValue] = field(default_factory=list)


def approvals_view(events: Iterable[StoredEvent]) -> list[JsonValue]:
    """Return each request for approval with its votes, as signed, and how it ended, in log order."""
    asked: dict[str, _Asked] = {}
    for stored in events:
        kind = stored.event.type
        if not kind.startswith("approval.") or "approval_id" not in (details := stored.event.details()):
            continue
        found = asked.setdefault(str(details["approval_id"]), _Asked({}))
        found.log_indexes.append(stored.index)
        if kind == _REQUESTED:
            found.request = details
        elif kind == _VOTED:
            found.votes.append(details)
        elif kind in _ENDS:
            found.end = kind.partition(".")[2]
    return [
        {
            "approval_id": name,
            "request": found.request,
            "votes": found.votes,
            "end": found.end,
            "log_indexes": found.log_indexes,
        }
        for name, found in asked.items()
    ]


def stories_view(stories: Sequence[Story]) -> list[JsonValue]:
    """Return each trace's graph and disagreements."""
    return [
        {"trace_id": story.trace_id, "graph": _graph(story.graph), "governance": _diff(story.diff)} for story in stories
    ]


def _graph(graph: ExecutionGraph) -> JsonValue:
    return {
        "nodes": [
            {
                "id": node.id,
                "kind": node.kind.value,
                "label": node.label,
                "trace_id": node.trace_id,
                "event_id": node.event_id,
                "facts": dict(node.facts),
            }
            for node in graph.nodes
        ],
        "edges": [
            {
                "source": edge.source,
                "target": edge.target,
                "kind": edge.kind.value,
                "pointers": list(edge.pointers),
            }
            for edge in graph.edges
        ],
        "gaps": list(graph.gaps),
        "decisions": graph.decisions,
        "whole": graph.whole,
    }


def _diff(diff: GovernanceDiff) -> JsonValue:
    return {
        "result": diff.result.value,
        "steps": [
            {
                "decision_id": step.decision_id,
                "step_id": step.step_id,
                "tool": step.tool,
                "outcome": step.outcome,
                "granted": step.granted,
                "executed": step.executed,
            }
            for step in diff.steps
        ],
        "violations": [
            {
                "kind": violation.kind.value,
                "severity": violation.severity.value,
                "decision_id": violation.decision_id,
                "step_id": violation.step_id,
                "expected": violation.expected,
                "actual": violation.actual,
                "event_ids": list(violation.event_ids),
            }
            for violation in diff.violations
        ],
    }
