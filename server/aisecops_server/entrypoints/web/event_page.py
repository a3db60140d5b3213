"""One event: why, the evidence as it is stored, where every word came from, the rule's own text, and the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aisecops.v1 import audit_service_pb2 as api
from aisecops.v1 import (
    bundle_service_pb2,
    decision_pb2,
    decision_service_pb2,
    transparency_service_pb2,
)
from aisecops.v1.event_pb2 import Event, Stage

from aisecops_server.domain.display.words import GATES, Sign, bare, gate_of
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.events.event import CONCLUDED
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.log.trace_gates import gates_of
from aisecops_server.entrypoints.web.arguments import Argument, arguments
from aisecops_server.entrypoints.web.document_view import document_view
from aisecops_server.entrypoints.web.markup import json_lines
from aisecops_server.entrypoints.web.strips import SIGNS, body, trust_name
from aisecops_server.entrypoints.web.trace_page import EVENT_TABS
from aisecops_server.entrypoints.web.visitor import Page, Visitor

_CONTEXT_LINES = 400
_Explained = decision_service_pb2.ExplainResponse


async def event_page(visitor: Visitor) -> Page:
    """Show one event of a trace."""
    tab = visitor.query("tab") or "why"
    if tab not in EVENT_TABS:
        raise InvalidRequestError(f"tab is one of {', '.join(EVENT_TABS)}", field="tab")
    request = api.GetEventRequest(trace_id=visitor.path("trace"), event_id=visitor.path("event"))
    found = await visitor.ask("AuditService/GetEvent", request, api.GetEventResponse)
    event, decision = found.event, found.decision if found.HasField("decision") else None
    explained, why_not = await _explained(visitor, decision, full=tab == "rego")
    document = orjson.loads(explained.document_json) if explained else {}
    view = {
        "trace_id": visitor.path("trace"),
        "event": event,
        "stage": bare(Stage.Name(event.stage)).lower(),
        "before": found.before_id,
        "after": found.after_id,
        "tab": tab,
        "tabs": EVENT_TABS,
        "decision": explained.decision if explained else decision,
        "explained": explained,
        "why_not": why_not,
        "reproduced": explained.replay if explained else None,
        "body": orjson.loads(event.body_json),
        "json": json_lines,
        "steps": _steps(document, decision) if tab == "provenance" else (),
        "sources": {str(source["id"]): source for source in document.get("sources", [])},
        "document": document_view(document),
        "gates": _gates(event, decision),
        "own_opa": _own_opa(visitor, explained) if tab == "rego" else "",
        "rego": await _rego(visitor, explained) if tab == "rego" else (),
        "integrity": await _integrity(visitor, event) if tab == "integrity" else None,
    }
    data = {"event": event, "explanation": explained, "document": document}
    command = ("explain", decision.decision_id) if decision else ("trace", "show", visitor.path("trace"))
    return Page("event.html", event.type, view, data, "Traces", command=command)


async def _explained(
    visitor: Visitor, decision: decision_pb2.Decision | None, *, full: bool
) -> tuple[_Explained | None, str]:
    if decision is None:
        return None, "the event belongs to no decision"
    request = decision_service_pb2.ExplainRequest(decision_id=decision.decision_id, full=full)
    return await visitor.attempt("DecisionService/Explain", request, _Explained)


@dataclass(frozen=True, slots=True)
class _Gate:
    """One gate of a decision: the worst that a rule did there, and which rules objected."""

    name: str
    sign: Sign
    rules: Sequence[str]


def _gates(event: Event, decision: decision_pb2.Decision | None) -> list[_Gate]:
    """Return the gates of the decision that an event concluded; none of any other event."""
    if decision is None or event.type != CONCLUDED:
        return []
    letters = gates_of(body(event), steps=len(decision.steps))
    rules = dict.fromkeys(finding.rule for finding in decision.findings)
    return [
        _Gate(gate, SIGNS[letter], [rule for rule in rules if gate_of(rule) == gate])
        for gate, letter in zip(GATES, letters, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Step:
    id: str
    tool: str
    influenced_by: Sequence[str]
    arguments: Sequence[Argument]


def _steps(document: Mapping[str, Any], decision: decision_pb2.Decision | None) -> list[_Step]:
    trust_of = {source.source_id: trust_name(source.trust) for source in decision.sources} if decision else {}
    return [
        _Step(str(step["id"]), str(step["tool"]), step["influenced_by"], arguments(step, trust_of))
        for step in document.get("plan", {}).get("steps", [])
    ]


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule's file at the revision that decided; ``begin`` is the line at which the rule stands.

    ``held`` tells by line whether what stands there was true; a line that is not in it was not reached.
    """

    rule: str
    file: str
    begin: int
    lines: Sequence[str]
    problem: str
    facts: Sequence[decision_pb2.Fact]
    held: Mapping[int, bool] = field(default_factory=dict)


async def _rego(visitor: Visitor, explained: _Explained | None) -> list[RuleText]:
    if explained is None:
        return []
    found: dict[str, RuleText] = {}
    for finding in explained.decision.findings:
        if finding.rule not in found:
            found[finding.rule] = await _rule_text(visitor, finding, explained)
    return list(found.values())


async def _rule_text(visitor: Visitor, finding: decision_pb2.Finding, explained: _Explained) -> RuleText:
    file, line = finding.location.file, finding.location.line
    if not file:
        return RuleText(finding.rule, "", 0, [], "it is not known where the rule stands at that commit", finding.facts)
    request = bundle_service_pb2.GetPolicyFileRequest(revision=explained.decision.bundle_revision, path=file)
    answer, problem = await visitor.attempt(
        "BundleService/GetPolicyFile", request, bundle_service_pb2.GetPolicyFileResponse
    )
    lines = answer.content.decode("utf-8", "replace").splitlines()[:_CONTEXT_LINES] if answer else []
    held = {one.number: one.held for one in explained.lines if one.file == file}
    return RuleText(finding.rule, file, line, lines, problem, finding.facts, held)


def _own_opa(visitor: Visitor, explained: _Explained | None) -> str:
    """Return how somebody makes a decision again with plain OPA, as a line for a shell; nothing where they may not."""
    if explained is None or not explained.document_json or not visitor.may("EvidenceService/ExportEvidence"):
        return ""
    decision = explained.decision
    named = (decision.trace_id, decision.bundle_digest, decision.document_digest)
    if not all(name.isascii() and name.isalnum() for name in named):
        return ""
    return (
        f"aisecops evidence export {decision.trace_id} -f case.zip && unzip -o case.zip 'bundles/*' 'documents/*' && "
        f"opa eval --bundle bundles/{decision.bundle_digest}.tar.gz --input documents/{decision.document_digest}.json"
        " --format pretty data.aisecops.decision.decision"
    )


@dataclass(frozen=True, slots=True)
class Integrity:
    """What was recomputed of an event, just now: its leaf from its bytes, and the proof of its place in the log."""

    recomputed: str
    matches: bool
    proof: str
    problem: str


async def _integrity(visitor: Visitor, event: Event) -> Integrity:
    # RFC 6962: a leaf is hashed with a zero byte before it.
    recomputed = digest(b"\x00" + event.body_json)
    request = transparency_service_pb2.ProveInclusionRequest(log_index=event.log_index)
    found, problem = await visitor.attempt(
        "TransparencyService/ProveInclusion", request, transparency_service_pb2.ProveInclusionResponse
    )
    same = found is None or found.body_json == event.body_json
    return Integrity(recomputed, recomputed == event.leaf_hash and same, found.proof if found else "", problem)
