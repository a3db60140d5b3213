"""What recorded traces show of agents and tools: who called what, where, with which arguments, and how often.

A name that no table may hold is not passed on; it is said as such. Exports may split a trace, so its parts are joined
before anything is looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.identifiers import is_agent_id
from aisecops_server.domain.formats.limits import LIMITS
from aisecops_server.domain.formats.strict_json import parse_object
from aisecops_server.domain.recordings.recorded_trace import RecordedTrace

_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_SHOWN_CHARACTERS = 80
_ARGUMENT_CHARACTERS = 64


@dataclass(slots=True)
class Sightings:
    """What was seen: by agent and tool, the environments; by tool, the arguments; by agent, each session's calls."""

    calls: dict[str, dict[str, dict[str, None]]] = field(default_factory=dict)
    arguments: dict[str, dict[str, None]] = field(default_factory=dict)
    sessions: dict[str, list[Counter[str]]] = field(default_factory=dict)
    unusable: dict[str, None] = field(default_factory=dict)

    def tools(self) -> list[str]:
        """Return every tool that was called, by name."""
        return sorted({tool for tools in self.calls.values() for tool in tools})

    def environments(self, *, agent: str = "", server: str = "") -> list[str]:
        """Return where calls were made, by one agent or on one server if these are given."""
        found = {
            environment
            for name, tools in self.calls.items()
            for tool, environments in tools.items()
            for environment in environments
            if agent in {"", name} and tool.startswith(server and f"{server}/")
        }
        return sorted(found)


def sightings_of(traces: Iterable[RecordedTrace], agent_id: str = "", environment: str = "") -> Sightings:
    """Return what ``traces`` show; a trace that does not say its agent or environment has the given ones.

    Raises:
        InvalidRequestError: a trace with calls does not say its agent or its environment.
    """
    runs: dict[str, RecordedTrace] = {}
    for trace in map(_lean, traces):
        runs[trace.trace_id] = runs[trace.trace_id].joined(trace) if trace.trace_id in runs else trace
    seen = Sightings()
    for trace in runs.values():
        if trace.calls:
            _look(trace.told(agent_id=agent_id, environment=environment), seen)
    return seen


def is_tool_name(tool: str) -> bool:
    """Return whether the tools table may hold a tool of this name, ``server/tool``."""
    server, _, name = tool.partition("/")
    return _is_name(server, LIMITS.identifier_characters) and _is_name(name, LIMITS.tool_characters)


def shown(text: str) -> str:
    """Return a foreign text in quotes, escaped and short enough for one line."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return ascii(cut)


def _look(trace: RecordedTrace, seen: Sightings) -> None:
    _require(trace)
    if not is_agent_id(trace.agent_id) or not _is_name(trace.environment, LIMITS.identifier_characters):
        seen.unusable[f"agent {shown(trace.agent_id)} in environment {shown(trace.environment)}"] = None
        return
    calls = [call for call in trace.calls if is_tool_name(call.tool)]
    seen.unusable.update((f"tool {shown(call.tool)}", None) for call in trace.calls if not is_tool_name(call.tool))
    for call in calls:
        seen.calls.setdefault(trace.agent_id, {}).setdefault(call.tool, {})[trace.environment] = None
        seen.arguments.setdefault(call.tool, {}).update(dict.fromkeys(_argument_names(call.arguments_json)))
    if calls:
        seen.sessions.setdefault(trace.agent_id, []).append(Counter(call.tool for call in calls))


def _lean(trace: RecordedTrace) -> RecordedTrace:
    # All traces are held until the last part of each has come; their texts are most of their size.
    return replace(trace, prompts=(), calls=tuple(replace(call, result=None) for call in trace.calls))


def _require(trace: RecordedTrace) -> None:
    for what, said in (("agent", trace.agent_id), ("environment", trace.environment)):
        if not said:
            raise InvalidRequestError(
                f"trace {trace.trace_id} does not say its {what}",
                hint=f"Say it with --{what}, here and in 'aisecops trace import'",
                field=what,
            )


def _argument_names(arguments_json: str) -> list[str]:
    try:
        names = parse_object(arguments_json.encode(), field="arguments")
    except (InvalidRequestError, UnicodeEncodeError):
        # Evaluation says what is wrong with the call; it tells nothing about the tool.
        return []
    return [name for name in names if _is_name(name, _ARGUMENT_CHARACTERS)]


def _is_name(text: str, most: int) -> bool:
    return 0 < len(text) <= most and _NAME.issuperset(text)
