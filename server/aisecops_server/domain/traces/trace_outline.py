"""A trace as its timeline shows it: of each decision and event only what a row says, so that a long trace is read soon.

Plain tuples of texts and numbers, of which a long trace has a hundred thousand: Python's collector lets go of them at
once, while it would look through values of classes again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aisecops_server.domain.events.event import Event
from aisecops_server.domain.log.record import StoredDecision, StoredTrace, TraceSummary

# The events whose bodies rows read: which tools a plan names, and what became of its calls.
_TOLD = ("plan.received", "grant.issued")
_TOLD_SUBJECTS = ("execution.", "incident.")

# Its index, id and decision, the value of its stage and its type, and its body where rows read it.
EventLine = tuple[int, str, str, str, str, bytes]


class DecisionLook(NamedTuple):
    """What decisions have in common that differ only in which they are and when they were made."""

    outcome: str
    mode: str
    steps: tuple[tuple[str, str], ...]  # id, outcome
    findings: tuple[tuple[str, str, str], ...]  # rule, effect, step
    trusts: tuple[str, ...]


# Its id, when it was made in microseconds, how many nanoseconds that took, and its look.
DecisionLine = tuple[str, int, int, DecisionLook]


@dataclass(frozen=True, slots=True)
class TraceOutline:
    """What the rows of a trace say: decisions oldest first, events in log order.

    ``deciding`` is the decision that makes the trace what it is, whole; ``None`` where nothing was decided.
    """

    summary: TraceSummary
    decisions: Sequence[DecisionLine]
    events: Sequence[EventLine]
    deciding: StoredDecision | None


def is_told(type: str) -> bool:
    """Return whether rows read the body of an event of this type."""
    return type in _TOLD or type.startswith(_TOLD_SUBJECTS)


def decision_line(details: Mapping[str, Any], looks: dict[DecisionLook, DecisionLook]) -> DecisionLine:
    """Return the line of a decision by its details; those that look alike share one of ``looks``.

    What may be erased of a decision is in none of it.
    """
    look = DecisionLook(
        details["outcome"],
        details["mode"],
        tuple([(step["id"], step["outcome"]) for step in details["steps"]]),
        tuple([(finding["rule"], finding["effect"], finding["step"]) for finding in details["findings"]]),
        tuple([source["trust"] for source in details["sources"]]),
    )
    shared = looks.setdefault(look, look)
    return details["decision_id"], details["decided_at_micros"], details["evaluation_ns"], shared


def deciding_id(summary: TraceSummary, decisions: Sequence[DecisionLine]) -> str:
    """Return the id of the first of a trace's most restrictive decisions; an empty string where it has none."""
    wanted = (line[0] for line in decisions if line[3].outcome == summary.outcome)
    return next(wanted, decisions[0][0] if decisions else "")


def outline_of(trace: StoredTrace) -> TraceOutline:
    """Return the outline of a trace that was read whole."""
    looks: dict[DecisionLook, DecisionLook] = {}
    decisions = [decision_line(decision.details, looks) for decision in trace.decisions]
    events = [_event_line(one.index, one.event) for one in trace.events]
    deciding = deciding_id(trace.summary, decisions)
    whole = next((decision for decision in trace.decisions if decision.decision_id == deciding), None)
    return TraceOutline(trace.summary, decisions, events, whole)


def _event_line(index: int, event: Event) -> EventLine:
    body = event.body if is_told(event.type) else b""
    return index, event.id, event.decision_id, event.stage.value, event.type, body
