"""From the spans of one export request to recorded traces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from aisecops_server.adapters.recordings import attributes as names
from aisecops_server.adapters.recordings import openinference
from aisecops_server.adapters.recordings.attributes import MalformedError, attributes, members, text
from aisecops_server.adapters.recordings.messages import result_text
from aisecops_server.adapters.recordings.openinference import Planned
from aisecops_server.adapters.recordings.tool_servers import ToolServers
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import RecordedCall, RecordedPrompt, RecordedTrace

_KIND_OF_ROLE = {"user": SourceKind.USER_PROMPT, "system": SourceKind.SYSTEM_PROMPT}
_TRACE_CHARACTERS = 32
_HEXADECIMAL = frozenset("0123456789abcdef")


def traces_of(
    request: Mapping[str, JsonValue], servers: ToolServers, planned: Planned | None = None
) -> Iterator[RecordedTrace]:
    """Yield one trace for each trace id in an export request; ``planned`` remembers between requests.

    Raises:
        MalformedError: a part of the request that we need is malformed.
    """
    remembered = planned if planned is not None else Planned()
    spans = list(_spans(request))
    for span, _ in spans:
        remembered.remember(_trace_id(span.get("traceId")), attributes(span.get("attributes", [])))
    found: dict[str, RecordedTrace] = {}
    for span, about in spans:
        part = _trace(span, about, servers, remembered)
        found[part.trace_id] = found[part.trace_id].joined(part) if part.trace_id in found else part
    yield from (trace for trace in found.values() if trace.calls or trace.prompts)


def _spans(request: Mapping[str, JsonValue]) -> Iterator[tuple[Mapping[str, JsonValue], Mapping[str, JsonValue]]]:
    """Yield each span with the attributes of its resource."""
    for resource_spans in members(request, "resourceSpans"):
        resource = resource_spans.get("resource", {})
        about = attributes(resource.get("attributes", [])) if isinstance(resource, Mapping) else {}
        for scope_spans in members(resource_spans, "scopeSpans"):
            yield from ((span, about) for span in members(scope_spans, "spans"))


def _trace(
    span: Mapping[str, JsonValue], about: Mapping[str, JsonValue], servers: ToolServers, planned: Planned
) -> RecordedTrace:
    held = attributes(span.get("attributes", []))
    operation = text(held, names.OPERATION)
    if not operation and openinference.KIND in held:
        told = _inferred(span, held, servers, planned)
        return told.told(agent_id="", environment=text(about, names.ENVIRONMENT))
    return RecordedTrace(
        trace_id=_trace_id(span.get("traceId")),
        agent_id=text(held, names.AGENT_ID),
        session_id=text(held, names.CONVERSATION),
        environment=text(about, names.ENVIRONMENT),
        prompts=tuple(_prompts(held)),
        calls=(_call(span, held, servers),) if operation == names.EXECUTE_TOOL else (),
    )


def _inferred(
    span: Mapping[str, JsonValue],
    held: Mapping[str, JsonValue],
    servers: ToolServers,
    planned: Planned,
) -> RecordedTrace:
    """Return what a span with the OpenInference conventions tells."""
    trace_id = _trace_id(span.get("traceId"))
    is_tool = text(held, openinference.KIND).upper() == openinference.TOOL
    call = (
        RecordedCall(
            span_id=_span_id(span),
            tool=servers.qualified(
                text(held, openinference.TOOL_NAME) or str(span.get("name", "")),
                text(held, names.TOOL_SERVER),
                [agent for agent in [text(held, openinference.AGENT_NAME)] if agent],
            ),
            arguments_json=openinference.arguments_of(held, trace_id, planned),
            result=result_text(held.get(openinference.OUTPUT)),
            started_at_ns=_nanoseconds(span.get("startTimeUnixNano", 0)),
        )
        if is_tool
        else None
    )
    return RecordedTrace(
        trace_id=trace_id,
        agent_id=text(held, names.AGENT_ID),
        session_id=text(held, openinference.SESSION),
        environment="",
        prompts=tuple(openinference.prompts_of(held)),
        calls=(call,) if call else (),
    )


def _span_id(span: Mapping[str, JsonValue]) -> str:
    span_id = span.get("spanId")
    if not isinstance(span_id, str) or not span_id:
        raise MalformedError("a tool span has no spanId")
    return span_id


def _call(span: Mapping[str, JsonValue], held: Mapping[str, JsonValue], servers: ToolServers) -> RecordedCall:
    agents = [agent for agent in (text(held, names.AGENT_ID), text(held, names.AGENT_NAME)) if agent]
    return RecordedCall(
        span_id=_span_id(span),
        tool=servers.qualified(text(held, names.TOOL_NAME), text(held, names.TOOL_SERVER), agents),
        arguments_json=_as_json(held.get(names.TOOL_ARGUMENTS, "{}")),
        result=_as_text(held.get(names.TOOL_RESULT)),
        started_at_ns=_nanoseconds(span.get("startTimeUnixNano", 0)),
    )


def _prompts(held: Mapping[str, JsonValue]) -> Iterator[RecordedPrompt]:
    for part in _parsed(held.get(names.SYSTEM_INSTRUCTIONS, [])):
        yield RecordedPrompt(SourceKind.SYSTEM_PROMPT, _content(part))
    for message in _parsed(held.get(names.INPUT_MESSAGES, [])):
        kind = _KIND_OF_ROLE.get(str(message.get("role")))
        if kind is not None:
            parts = [_content(part) for part in members(message, "parts")]
            yield RecordedPrompt(kind, "\n".join(part for part in parts if part))


def _parsed(value: JsonValue) -> Sequence[Mapping[str, JsonValue]]:
    # The conventions let exporters write structured attributes as JSON text.
    held: JsonValue = json.loads(value) if isinstance(value, str) else value
    return members({"messages": held}, "messages")


def _content(part: Mapping[str, JsonValue]) -> str:
    content = part.get("content", "")
    if not isinstance(content, str):
        raise MalformedError("a message part has no text content")
    return content


def _as_json(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_text(value: JsonValue) -> str | None:
    return None if value is None else _as_json(value)


def _trace_id(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise MalformedError("a span has no traceId")
    lowered = value.lower()
    if len(lowered) != _TRACE_CHARACTERS or not _HEXADECIMAL.issuperset(lowered):
        raise MalformedError("a traceId is not 32 hexadecimal digits")
    return lowered


def _nanoseconds(value: JsonValue) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise MalformedError("startTimeUnixNano is not an integer")
    return int(value)
