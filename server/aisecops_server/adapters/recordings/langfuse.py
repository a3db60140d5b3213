"""Observations of Langfuse: rows of its exports (snake case) and of its API (camel case), one observation each."""

from __future__ import annotations

from collections.abc import Mapping

from aisecops_server.adapters.recordings.attributes import MalformedError
from aisecops_server.adapters.recordings.messages import UNKNOWN_ARGUMENTS, arguments_text, prompts_in, result_text
from aisecops_server.adapters.recordings.times import nanoseconds
from aisecops_server.adapters.recordings.tool_servers import ToolServers
from aisecops_server.adapters.recordings.trace_names import trace_name
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.recordings.recorded_trace import RecordedCall, RecordedTrace

_KINDS = frozenset(
    {"SPAN", "EVENT", "GENERATION", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"}
)


def is_observation(record: Mapping[str, JsonValue]) -> bool:
    """Return whether a record is an observation."""
    named = "trace_id" in record or "traceId" in record
    return named and isinstance(record.get("type"), str) and str(record["type"]).upper() in _KINDS


def trace_of(record: Mapping[str, JsonValue], servers: ToolServers) -> RecordedTrace:
    """Return what one observation tells of its trace.

    Raises:
        MalformedError: it lacks what we need.
    """
    is_tool = str(record["type"]).upper() == "TOOL"
    return RecordedTrace(
        trace_id=trace_name(_told(record, "trace_id", "traceId")),
        agent_id="",
        session_id=_told(record, "session_id", "sessionId"),
        environment=_told(record, "environment", "environment"),
        prompts=() if is_tool else tuple(prompts_in(record.get("input"))),
        calls=(_call(record, servers),) if is_tool else (),
    )


def _call(record: Mapping[str, JsonValue], servers: ToolServers) -> RecordedCall:
    return RecordedCall(
        span_id=_needed(record, "id"),
        tool=servers.qualified(_needed(record, "name"), "", ()),
        arguments_json=arguments_text(record.get("input") or UNKNOWN_ARGUMENTS),
        result=result_text(record.get("output")),
        started_at_ns=nanoseconds(_told(record, "start_time", "startTime")),
    )


def _told(record: Mapping[str, JsonValue], *names: str) -> str:
    found = next((record[name] for name in names if record.get(name) is not None), "")
    if not isinstance(found, str):
        raise MalformedError(f"{names[0]} is not a text")
    return found


def _needed(record: Mapping[str, JsonValue], name: str) -> str:
    found = record.get(name)
    if not isinstance(found, str) or not found:
        raise MalformedError(f"a tool observation has no {name}")
    return found
