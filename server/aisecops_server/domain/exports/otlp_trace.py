"""Traces as OTLP/JSON (``ExportTraceServiceRequest``), one request a line, to be looked at beside an agent's own spans.

The trace id is the one that the agent sent, so both meet in one trace, and where it sent its `traceparent`, a decision
is a child of the span that asked. A decision is a span that lasts as long as its
evaluation took; below it stands one span for each step, named by the GenAI conventions, and every event of the decision
is a span event. Ids of spans are made of ours, so the same trace gives the same spans.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aisecops_server.domain.events.event import CONCLUDED
from aisecops_server.domain.exports.record import Exported
from aisecops_server.domain.formats.canonical import JsonValue

_SPAN_CHARACTERS = 16
_INTERNAL = 1
_OK, _ERROR = 1, 2
_TOOL_OPERATION = "execute_tool"


def otlp_request(items: Sequence[Exported]) -> dict[str, JsonValue]:
    """Return the spans of one trace; ``items`` are all of its events, in the order of the log."""
    spans = [span for item in items if item.stored.event.type == CONCLUDED for span in _spans(item, items)]
    producer = items[0].producer if items else ""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": "aisecops", "service.version": producer})},
                "scopeSpans": [{"scope": {"name": "aisecops.decisions", "version": producer}, "spans": spans}],
            }
        ]
    }


def _spans(item: Exported, items: Sequence[Exported]) -> Iterator[JsonValue]:
    event, details = item.stored.event, item.details
    own = [other for other in items if other.stored.event.decision_id == event.decision_id]
    root = _span_id(event.decision_id)
    end = event.occurred_at_ns
    begin = end - int(details.get("evaluation_ns", 0))
    agent = {"gen_ai.agent.id": item.principal, "gen_ai.conversation.id": str(details.get("session_id", ""))}
    yield {
        "traceId": event.trace_id,
        "spanId": root,
        **_parent(own),
        "name": "aisecops.decide",
        "kind": _INTERNAL,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(end),
        "attributes": _attributes({**agent, **_decided(details), "aisecops.decision.id": event.decision_id}),
        "events": [_span_event(other) for other in own],
        "status": {"code": _OK},
    }
    tools = _tools(own)
    for step in details.get("steps", ()):
        yield {
            "traceId": event.trace_id,
            "spanId": _span_id(event.decision_id, str(step["id"])),
            "parentSpanId": root,
            "name": f"{_TOOL_OPERATION} {tools.get(str(step['id']), '')}".rstrip(),
            "kind": _INTERNAL,
            "startTimeUnixNano": str(begin),
            "endTimeUnixNano": str(end),
            "attributes": _attributes({**agent, **_step(step, tools), **_found(step, details)}),
            "status": {"code": _ERROR if step.get("outcome") == "DENY" else _OK},
        }


def _decided(details: Mapping[str, Any]) -> dict[str, str | list[str]]:
    return {
        "aisecops.decision.outcome": str(details.get("outcome", "")),
        "aisecops.decision.mode": str(details.get("mode", "")),
        "aisecops.policy.revision": str(details.get("bundle_revision", "")),
        "aisecops.policy.engine": str(details.get("engine_version", "")),
        "aisecops.decision.rules": sorted({str(finding["rule"]) for finding in details.get("findings", ())}),
    }


def _step(step: Mapping[str, Any], tools: Mapping[str, str]) -> dict[str, str | list[str]]:
    server, _, name = tools.get(str(step["id"]), "").partition("/")
    return {
        "gen_ai.operation.name": _TOOL_OPERATION,
        "gen_ai.tool.name": name,
        "aisecops.tool.server": server,
        "aisecops.step.id": str(step["id"]),
        "aisecops.step.outcome": str(step.get("outcome", "")),
        "aisecops.step.capability": str(step.get("capability", "")),
    }


def _found(step: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, str | list[str]]:
    found = {str(finding["rule"]) for finding in details.get("findings", ()) if finding.get("step") == step["id"]}
    return {"aisecops.step.rules": sorted(found)}


def _tools(own: Sequence[Exported]) -> dict[str, str]:
    """Return the tool of each step, which the event says that tells of the plan."""
    steps = (step for item in own if item.stored.event.type == "plan.received" for step in item.details["steps"])
    return {str(step["id"]): str(step["tool"]) for step in steps}


def _parent(own: Sequence[Exported]) -> Mapping[str, JsonValue]:
    """Return the agent's span under which the plan was sent, where it said so."""
    said = (item.details.get("parent_span_id") for item in own if item.stored.event.type == "plan.received")
    return next(({"parentSpanId": str(span)} for span in said if span), {})


def _span_event(item: Exported) -> JsonValue:
    event = item.stored.event
    about = {"aisecops.log.index": str(item.stored.index), "aisecops.event.id": event.id}
    return {"name": event.type, "timeUnixNano": str(event.occurred_at_ns), "attributes": _attributes(about)}


def _attributes(found: Mapping[str, str | list[str]]) -> list[JsonValue]:
    return [{"key": key, "value": _value(value)} for key, value in found.items() if value]


def _value(value: str | list[str]) -> JsonValue:
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [{"stringValue": part} for part in value]}}


def _span_id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_SPAN_CHARACTERS]
