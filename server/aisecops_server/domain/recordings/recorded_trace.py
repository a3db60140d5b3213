"""What an agent did, as its own telemetry tells it: the prompts it was given and the calls it made, with results.

A recorded trace is evidence from outside. It is evaluated as a dry run, never as something the control plane saw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from aisecops_server.domain.plans.provenance import SourceKind

# The rules that say that the tables lack an entry, and nothing about the call.
AGENT_UNREGISTERED = "identity.agent_unregistered"
TOOL_UNDECLARED = "capability.tool_undeclared"
_UNKNOWN = frozenset({AGENT_UNREGISTERED, TOOL_UNDECLARED})


@dataclass(frozen=True, slots=True)
class RecordedPrompt:
    """A text that steered the agent from the start: a user's or the system's prompt."""

    kind: SourceKind
    text: str


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One tool call. ``tool`` is ``server/tool``; ``result`` is ``None`` when the call returned nothing or failed."""

    span_id: str
    tool: str
    arguments_json: str
    result: str | None
    started_at_ns: int


@dataclass(frozen=True, slots=True)
class RecordedTrace:
    """One run of one agent; calls in the order in which they started."""

    trace_id: str
    agent_id: str
    session_id: str
    environment: str
    prompts: tuple[RecordedPrompt, ...]
    calls: tuple[RecordedCall, ...]

    def told(self, *, agent_id: str, environment: str) -> RecordedTrace:
        """Return the trace with what a person says of it where it says nothing itself."""
        return replace(self, agent_id=self.agent_id or agent_id, environment=self.environment or environment)

    def joined(self, other: RecordedTrace) -> RecordedTrace:
        """Return the trace with what ``other`` knows of the same trace as well; exports may split traces."""
        calls = {call.span_id: call for call in (*self.calls, *other.calls)}
        prompts = dict.fromkeys((*self.prompts, *other.prompts))
        ordered = sorted(calls.values(), key=lambda call: (call.started_at_ns, call.span_id))
        return replace(
            self,
            agent_id=self.agent_id or other.agent_id,
            session_id=self.session_id or other.session_id,
            environment=self.environment or other.environment,
            prompts=tuple(prompts),
            calls=tuple(ordered),
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What policy said of one recorded call. ``outcome`` is empty when it could not be decided; ``error`` says why."""

    trace_id: str
    span_id: str
    agent_id: str
    tool: str
    revision: str
    outcome: str
    rules: tuple[str, ...]
    decision_id: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often one agent's calls of one tool had one outcome for the same rules."""

    agent_id: str
    tool: str
    outcome: str
    rules: tuple[str, ...]
    calls: int


@dataclass(frozen=True, slots=True)
class Strangers:
    """Calls that were denied because no table knows their agent or their tool, whatever they did."""

    calls: int
    agents: tuple[str, ...]
    tools: tuple[str, ...]


def strangers_in(rules: Iterable[str]) -> bool:
    """Return whether rules say that a table lacks an entry."""
    return not _UNKNOWN.isdisjoint(rules)


def strangers_among(tallies: Iterable[Tally]) -> Strangers:
    """Return what policy does not know of what was evaluated."""
    held = [tally for tally in tallies if strangers_in(tally.rules)]
    return Strangers(
        calls=sum(tally.calls for tally in held),
        agents=tuple(sorted({tally.agent_id for tally in held if AGENT_UNREGISTERED in tally.rules})),
        tools=tuple(sorted({tally.tool for tally in held if TOOL_UNDECLARED in tally.rules})),
    )
