"""Runs of LangSmith, as its SDK and its exports write them: flat, or with their children inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aisecops_server.adapters.recordings.attributes import MalformedError, members
from aisecops_server.adapters.recordings.messages import (
    UNKNOWN_ARGUMENTS,
    arguments_text,
    parsed,
    prompts_in,
    result_text,
)
from aisecops_server.adapters.recordings.times import nanoseconds
from aisecops_server.adapters.recordings.tool_servers import ToolServers
from aisecops_server.adapters.recordings.trace_names import trace_name
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.recordings.recorded_trace import RecordedCall, RecordedTrace

_MOST_DEPTH = 64
_SESSIONS = ("thread_id", "session_id", "conversation_id")


def is_run(record: Mapping[str, JsonValue]) -> bool:
    """Return whether a record is a run."""
    return isinstance(record.get("run_type"), str) and "inputs" in record


def traces_of(record: Mapping[str, JsonValue], servers: ToolServers) -> Iterator[RecordedTrace]:
    """Yield what a run, and each run inside it, tells of its trace.

    Raises:
        MalformedError: one lacks what we need.
    """
    yield from _traces(record, "", servers, _MOST_DEPTH)


def _traces(record: Mapping[str, JsonValue], trace: str, servers: ToolServers, depth: int) -> Iterator[RecordedTrace]:
    if depth == 0:
        raise MalformedError("runs are nested too deep")
    named = record.get("trace_id") or trace or record.get("id")
    is_tool = str(record["run_type"]).lower() == "tool"
    found = trace_name(str(named or ""))
    metadata = _metadata(record)
    yield RecordedTrace(
        trace_id=found,
        agent_id="",
        session_id=next((str(metadata[name]) for name in _SESSIONS if metadata.get(name)), ""),
        environment=str(metadata.get("environment") or ""),
        prompts=() if is_tool else tuple(prompts_in(record.get("inputs"))),
        calls=(_call(record, servers),) if is_tool else (),
    )
    for child in members({"child_runs": record.get("child_runs") or []}, "child_runs"):
        yield from _traces(child, str(named or ""), servers, depth - 1)


def _call(record: Mapping[str, JsonValue], servers: ToolServers) -> RecordedCall:
    run_id, name = record.get("id"), record.get("name")
    if not isinstance(run_id, str) or not isinstance(name, str) or not run_id:
        raise MalformedError("a tool run has no id or no name")
    return RecordedCall(
        span_id=run_id,
        tool=servers.qualified(name, "", ()),
        arguments_json=_arguments(record.get("inputs")),
        result=result_text(record.get("outputs")),
        started_at_ns=nanoseconds(str(record.get("start_time") or "")),
    )


def _arguments(inputs: JsonValue) -> str:
    held = parsed(inputs)
    # Older tracers keep the whole call as one text under this name; where that is no JSON, nobody knows its arguments.
    if isinstance(held, Mapping) and held.keys() == {"input"} and isinstance(held["input"], str):
        return arguments_text(held["input"])
    return arguments_text(held if held is not None else UNKNOWN_ARGUMENTS)


def _metadata(record: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    extra = parsed(record.get("extra"))
    found = extra.get("metadata") if isinstance(extra, Mapping) else None
    return found if isinstance(found, Mapping) else {}
