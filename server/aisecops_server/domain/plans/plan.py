"""What an agent proposes: steps, what influenced them, and on whose behalf.

Limits are part of the contract (``formats/limits.py``). A plan that exists has passed them: identifiers are well formed
and unique, arguments are strict JSON objects, dependencies point backwards, influences name known sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NewType

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.provenance import Source, SourceId

TraceId = NewType("TraceId", str)
PlanId = NewType("PlanId", str)
StepId = NewType("StepId", str)
SessionId = NewType("SessionId", str)


@dataclass(frozen=True, slots=True)
class Step:
    """One proposed tool call. ``arguments`` is the parsed form of ``arguments_json``, the bytes received."""

    id: StepId
    tool: str
    capability: str
    arguments: Mapping[str, JsonValue]
    depends_on: tuple[StepId, ...]
    influenced_by: tuple[SourceId, ...]

    @property
    def server(self) -> str:
        """Return the part of the tool's name before the slash."""
        return self.tool.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Delegate:
    """One link of the chain of agents above the caller."""

    agent_id: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class PastStep:
    """A call already made in the session. ``observed`` is true when the control plane decided it itself."""

    id: StepId
    tool: str
    observed: bool


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What the agent says that it used of one model since the plan before."""

    model: str
    input_tokens: int
    output_tokens: int

    def beyond(self, counted: ModelUsage) -> ModelUsage:
        """Return what of it was not counted before."""
        return ModelUsage(
            self.model,
            max(0, self.input_tokens - counted.input_tokens),
            max(0, self.output_tokens - counted.output_tokens),
        )

    def with_more(self, other: ModelUsage) -> ModelUsage:
        """Return the larger of each figure."""
        return ModelUsage(
            self.model, max(self.input_tokens, other.input_tokens), max(self.output_tokens, other.output_tokens)
        )


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """What an agent proposes to do."""

    id: PlanId
    trace_id: TraceId
    session_id: SessionId
    parent_trace_id: str
    intent: str
    environment: str
    steps: tuple[Step, ...]
    sources: tuple[Source, ...]
    delegation: tuple[Delegate, ...]
    history: tuple[PastStep, ...]
    model_usage: tuple[ModelUsage, ...] = ()
    parent_span_id: str = ""

    @property
    def characters(self) -> int:
        """Return about how much text there is to read: sources, and arguments that are plain strings."""
        texts = [value for step in self.steps for value in step.arguments.values() if isinstance(value, str)]
        return sum(map(len, texts)) + sum(len(source.content or "") for source in self.sources)


def usage_beyond(claimed: Sequence[ModelUsage], counted: Sequence[ModelUsage]) -> tuple[ModelUsage, ...]:
    """Return what of a plan's claim was not counted when people were asked about the same plan."""
    known = {item.model: item for item in counted}
    return tuple(item.beyond(known.get(item.model, ModelUsage(item.model, 0, 0))) for item in claimed)


def usage_counted(claimed: Sequence[ModelUsage], counted: Sequence[ModelUsage]) -> tuple[ModelUsage, ...]:
    """Return all that is counted of a plan once its claim is counted too: it never falls."""
    known = {item.model: item for item in counted}
    for item in claimed:
        known[item.model] = item.with_more(known.get(item.model, item))
    return tuple(known.values())
