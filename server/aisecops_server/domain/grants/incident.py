"""Runtime incidents: calls that ran, or were to run, otherwise than it was decided.

An incident is an event of the stage ``execution`` whose type begins with ``incident.``; there is no other list of
them, so none can be missing from it or be there without its proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from aisecops_server.domain.decisions.decision import Severity
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.formats.canonical import JsonValue

PREFIX = "incident."


class IncidentKind(StrEnum):
    """What went wrong."""

    RUN_WITHOUT_GRANT = "run_without_grant"
    BLOCKED_BUT_RUN = "blocked_but_run"
    OTHER_ARGUMENTS = "other_arguments"
    OTHER_TOOL = "other_tool"
    OTHER_CALLER = "other_caller"
    OUT_OF_ORDER = "out_of_order"
    GRANT_REUSED = "grant_reused"
    GRANT_FORGED = "grant_forged"
    EXECUTED_AFTER_EXPIRY = "executed_after_expiry"
    EDGE_HISTORY_REWRITTEN = "edge_history_rewritten"
    EDGE_FOREIGN_AGENT = "edge_foreign_agent"

    @property
    def severity(self) -> Severity:
        """Return how bad it is."""
        return _SEVERITIES.get(self, Severity.HIGH)

    @property
    def message(self) -> str:
        """Return what happened, for people."""
        return _MESSAGES[self]


_SEVERITIES = {
    IncidentKind.BLOCKED_BUT_RUN: Severity.CRITICAL,
    IncidentKind.OTHER_TOOL: Severity.CRITICAL,
    IncidentKind.OTHER_CALLER: Severity.CRITICAL,
    IncidentKind.GRANT_FORGED: Severity.CRITICAL,
    IncidentKind.EDGE_HISTORY_REWRITTEN: Severity.CRITICAL,
    IncidentKind.EDGE_FOREIGN_AGENT: Severity.CRITICAL,
    IncidentKind.OUT_OF_ORDER: Severity.MEDIUM,
}
_MESSAGES = {
    IncidentKind.RUN_WITHOUT_GRANT: "A call ran, or was to run, for which there is no grant",
    IncidentKind.BLOCKED_BUT_RUN: "A call ran that had been refused",
    IncidentKind.OTHER_ARGUMENTS: "The arguments are not those that were granted",
    IncidentKind.OTHER_TOOL: "The tool is not the one that was granted",
    IncidentKind.OTHER_CALLER: "A grant was used by somebody else than the one it was given to",
    IncidentKind.OUT_OF_ORDER: "A step was to run, or ran, before what it depends on",
    IncidentKind.GRANT_REUSED: "A grant was used a second time",
    IncidentKind.GRANT_FORGED: "What was presented as a grant is none that was issued here",
    IncidentKind.EXECUTED_AFTER_EXPIRY: "A call ran after its grant had ended",
    IncidentKind.EDGE_HISTORY_REWRITTEN: "An edge sent another history than the one it had sent before",
    IncidentKind.EDGE_FOREIGN_AGENT: "An edge allowed something to an agent that it is not registered for",
}


@dataclass(frozen=True, slots=True)
class Incident:
    """What is to be recorded of one incident. ``facts`` add what was expected and what was found."""

    kind: IncidentKind
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """Return the type of its event."""
        return f"{PREFIX}{self.kind.value}"

    def details(self) -> dict[str, JsonValue]:
        """Return the details of its event."""
        return {"severity": self.kind.severity.value, "message": self.kind.message, **self.facts}


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Narrows a list of incidents; an empty field does not narrow."""

    kind: str = ""
    severity: str = ""
    agent_id: str = ""
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """A page of incidents, newest first; ``next_token`` is empty on the last one."""

    incidents: tuple[StoredEvent, ...]
    next_token: str


def is_incident(stored: StoredEvent) -> bool:
    """Return whether an event is an incident."""
    return stored.event.type.startswith(PREFIX)
