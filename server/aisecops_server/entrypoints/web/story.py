"""A trace in sentences, one decision a paragraph, each with the events that say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops.v1 import audit_service_pb2 as api
from aisecops.v1 import decision_pb2
from aisecops.v1.event_pb2 import Event

from aisecops_server.domain.display.words import counted, outcome_sign
from aisecops_server.entrypoints.web.strips import body


@dataclass(frozen=True, slots=True)
class Sentence:
    """One statement with the event that is its source."""

    text: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """What happened to one plan."""

    number: int
    decision_id: str
    sentences: Sequence[Sentence]


def story(trace: api.GetTraceResponse) -> list[Paragraph]:
    """Return the story of a trace, in the order of the log."""
    by_decision: dict[str, list[Event]] = {}
    for event in trace.events:
        by_decision.setdefault(event.decision_id, []).append(event)
    return [
        Paragraph(number, decision.decision_id, list(_sentences(decision, by_decision.get(decision.decision_id, ()))))
        for number, decision in enumerate(trace.decisions, start=1)
    ]


def _sentences(decision: decision_pb2.Decision, events: Sequence[Event]) -> Iterator[Sentence]:
    for event in events:
        told = _TOLD.get(event.type) or _TOLD.get(event.type.partition(".")[0] + ".")
        if told:
            yield Sentence(told(body(event), decision, event.type), event.event_id)


def _plan(details: Mapping[str, Any], decision: decision_pb2.Decision, _type: str) -> str:
    steps = details.get("steps", [])
    calls = ", ".join(str(step["tool"]) for step in steps) or "no call"
    sources = counted(len(decision.sources), "source")
    return f"{decision.principal.id} proposed “{details.get('intent', '')}”: {calls}, on the word of {sources}."


def _identity(details: Mapping[str, Any], _decision: decision_pb2.Decision, _type: str) -> str:
    chain = details.get("delegation", [])
    above = f", on behalf of {', then '.join(chain)}" if chain else ""
    return f"A {details.get('authenticated_by', '')} proved that it is {details.get('principal', '')}{above}."


def _capability(details: Mapping[str, Any], _decision: decision_pb2.Decision, _type: str) -> str:
    parts = [
        f"{step['id']} is covered by {step['capability']}, granted by {step['granted_by'] or 'nobody named'}"
        if step.get("capability")
        else f"{step['id']} is covered by no capability"
        for step in details.get("steps", [])
    ]
    return f"Of the capabilities granted to it, {'; '.join(parts)}."


def _policy(details: Mapping[str, Any], decision: decision_pb2.Decision, _type: str) -> str:
    rules = list(dict.fromkeys(str(found["rule"]) for found in details.get("rules", [])))
    fired = f"{', '.join(rules)} fired" if rules else "no rule of this stage fired"
    return (
        f"OPA {details.get('engine_version', '')} evaluated the policy of commit {decision.bundle_revision[:8]}"
        f" on the stored document: {fired}."
    )


def _outcome(_details: Mapping[str, Any], decision: decision_pb2.Decision, _type: str) -> str:
    word = outcome_sign(decision_pb2.Outcome.Name(decision.outcome)).word
    tried = " as a dry run" if decision.mode == decision_pb2.MODE_DRY_RUN else ""
    return f"The plan was {word}{tried}. {decision.explanation}"


def _event(details: Mapping[str, Any], _decision: decision_pb2.Decision, kind: str) -> str:
    said = [
        f"{name.replace('_', ' ')} {details[name]}"
        for name in ("tool", "step", "message", "outcome", "approvers", "state")
        if details.get(name)
    ]
    return f"{kind.replace('.', ' ').replace('_', ' ').capitalize()}{': ' if said else ''}{', '.join(said)}."


_TOLD = {
    "plan.received": _plan,
    "text.received": _plan,
    "identity.verified": _identity,
    "capability.checked": _capability,
    "policy.evaluated": _policy,
    "decision.concluded": _outcome,
    "grant.": _event,
    "execution.": _event,
    "incident.": _event,
    "approval.": _event,
    "budget.reserved": _event,
    "budget.settled": _event,
}
