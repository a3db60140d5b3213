"""Spans with the OpenInference conventions, as Phoenix and its instrumentations write them into OTLP.

A tool span has its input as one text, which names the arguments only where it is a JSON object; with one argument it is
mostly bare. The model's message that asked for the call has them all, and is joined by the call's id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aisecops_server.adapters.recordings.attributes import text
from aisecops_server.adapters.recordings.messages import UNKNOWN_ARGUMENTS, arguments_text, parsed, prompts_in
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.recordings.recorded_trace import RecordedPrompt

KIND = "openinference.span.kind"
TOOL = "TOOL"
AGENT_NAME = "agent.name"
SESSION = "session.id"
TOOL_NAME = "tool.name"
INPUT = "input.value"
OUTPUT = "output.value"
_INPUT_MESSAGES = "llm.input_messages."
_OUTPUT_MESSAGES = "llm.output_messages."
_TOOL_CALL = ".tool_call."
_MOST_PLANNED = 100_000


@dataclass(slots=True)
class Planned:
    """The arguments that models asked for, by trace and id of the call. The oldest are forgotten."""

    arguments: dict[tuple[str, str], str] = field(default_factory=dict)

    def remember(self, trace_id: str, held: Mapping[str, JsonValue]) -> None:
        """Note the calls in a model's answer."""
        ids = {name.rpartition(_TOOL_CALL)[0]: name for name in held if name.endswith(f"{_TOOL_CALL}id")}
        for place, name in ids.items():
            asked = held.get(f"{place}{_TOOL_CALL}function.arguments")
            if place.startswith(_OUTPUT_MESSAGES) and isinstance(asked, str):
                self.arguments[trace_id, str(held[name])] = asked
        while len(self.arguments) > _MOST_PLANNED:
            del self.arguments[next(iter(self.arguments))]

    def of(self, trace_id: str, call_id: str) -> str:
        """Return the arguments of a call, or that they are unknown."""
        return arguments_text(self.arguments.get((trace_id, call_id), UNKNOWN_ARGUMENTS))


def arguments_of(held: Mapping[str, JsonValue], trace_id: str, planned: Planned) -> str:
    """Return the arguments of a tool span as JSON, or that they are unknown."""
    told = arguments_text(held.get(INPUT, UNKNOWN_ARGUMENTS))
    return told or planned.of(trace_id, _call_id(held))


def prompts_of(held: Mapping[str, JsonValue]) -> Iterator[RecordedPrompt]:
    """Yield the prompts that a model was given; lists are flattened into numbered names."""
    roles = [name for name in held if name.startswith(_INPUT_MESSAGES) and name.endswith(".message.role")]
    messages: list[JsonValue] = [
        {"role": text(held, name), "content": held.get(f"{name.removesuffix('role')}content", "")} for name in roles
    ]
    yield from prompts_in(messages)


def _call_id(held: Mapping[str, JsonValue]) -> str:
    output = parsed(held.get(OUTPUT))
    inner = output.get("data", output) if isinstance(output, Mapping) else {}
    return str(inner.get("tool_call_id", "")) if isinstance(inner, Mapping) else ""
