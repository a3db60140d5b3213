"""From the spans of one export request to recorded traces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aisecops_server.adapters.otlp import attributes as names
from aisecops_server.adapters.otlp.attributes import MalformedError, attributes, members, text
from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.provenance import SourceKind
from aisecops_server.domain.recorded_trace import RecordedCall, RecordedPrompt, RecordedTrace

_KIND_OF_ROLE = {"user": SourceKind.USER_PROMPT, "system": SourceKind.SYSTEM_PROMPT}
_TRACE_CHARACTERS = 32
_HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class ToolServers:
    """Which server a bare tool name belongs to: by the agent's name or id, else one for all.

    Telemetry often names tools without their server. It is never guessed: the span says it, or the operator does.
    """

    by_agent: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = ""

    def qualified(self, tool: str, server: str, agents: Sequence[str]) -> str:
        """Return ``server/tool``.

        Raises:
            MalformedError: nobody says which server it is.
        """
        if "/" in tool:
            return tool
        named = server or next((self.by_agent[agent] for agent in agents if agent in self.by_agent), self.otherwise)
        if not tool or not named:
            agent = agents[-1] if agents else ""
            raise MalformedError(f"the tool '{tool}' of agent '{agent}' names no server; say it with --tool-server")
        return f"{named}/{tool}"


def traces_of(request: Mapping[str, JsonValue], servers: ToolServers) -> Iterator[RecordedTrace]:
    """Yield one trace for each trace id in an export request.

    Raises:
        MalformedError: a part of the request that we need is malformed.
    """
    found: dict[str, RecordedTrace] = {}
    for resource_spans in members(request, "resourceSpans"):
        resource = resource_spans.get("resource", {})
        about = attributes(resource.get("attributes", [])) if isinstance(resource, Mapping) else {}
        for scope_spans in members(resource_spans, "scopeSpans"):
            for span in members(scope_spans, "spans"):
                part = _trace(span, about, servers)
                found[part.trace_id] = found[part.trace_id].joined(part) if part.trace_id in found else part
    yield from (trace for trace in found.values() if trace.calls or trace.prompts)


def _trace(span: Mapping[str, JsonValue], about: Mapping[str, JsonValue], servers: ToolServers) -> RecordedTrace:
    held = attributes(span.get("attributes", []))
    operation = text(held, names.OPERATION)
    return RecordedTrace(
        trace_id=_trace_id(span.get("traceId")),
        agent_id=text(held, names.AGENT_ID),
        session_id=text(held, names.CONVERSATION),
        environment=text(about, names.ENVIRONMENT),
        prompts=tuple(_prompts(held)),
        calls=(_call(span, held, servers),) if operation == names.EXECUTE_TOOL else (),
    )


def _call(span: Mapping[str, JsonValue], held: Mapping[str, JsonValue], servers: ToolServers) -> RecordedCall:
    agents = [agent for agent in (text(held, names.AGENT_ID), text(held, names.AGENT_NAME)) if agent]
    span_id = span.get("spanId")
    if not isinstance(span_id, str) or not span_id:
        raise MalformedError("a tool span has no spanId")
    return RecordedCall(
        span_id=span_id,
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
