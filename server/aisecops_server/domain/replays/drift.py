"""What a sample of recent decisions says of today: whether they still come out, and what another policy makes of them.

Two kinds of drift, kept apart. *Records*: a decision that does not come out again on its own policy and engine means
that a record, a bundle or an engine is not what it was. *Policy*: a decision that would come out otherwise on the
policy that is live, or wanted next, means that people's expectations moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.replays.comparison import Comparison
from aisecops_server.domain.replays.fidelity import Check, Fidelity, fidelity_in
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.domain.replays.replay import Direction, VerdictClass

EXAMPLES = 5
# Of agents and tools that are told one by one; a sample has not many more.
MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class PolicyDrift:
    """What one revision makes of the sample. ``name`` says which: `live`, or `next`."""

    name: str
    revision: str
    compared: int = 0
    looser: int = 0
    stricter: int = 0
    risky: int = 0
    other: int = 0
    undecided: int = 0
    examples: tuple[str, ...] = ()
    problem: str = ""

    @property
    def flips(self) -> int:
        """Return how many decisions would come out otherwise."""
        return self.looser + self.stricter


@dataclass(frozen=True, slots=True)
class Reproduced:
    """How many of the decisions of an agent that call a tool came out again."""

    agent_id: str
    tool: str
    checked: int
    reproduced: int


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What one look at the sample found; ``checked_at_ns`` is when."""

    checked_at_ns: int
    window_seconds: int
    fidelity: Fidelity
    rows: tuple[Reproduced, ...]
    policies: tuple[PolicyDrift, ...]

    @property
    def found(self) -> bool:
        """Return whether anything drifted. A sample of nothing has not."""
        flips = any(policy.flips or policy.problem for policy in self.policies)
        return flips or any(check.doubt is not None for check in self.fidelity.checks)

    def as_json(self) -> dict[str, JsonValue]:
        """Return it as JSON."""
        return {
            "checked_at_micros": self.checked_at_ns // 1000,
            "window_seconds": self.window_seconds,
            "found": self.found,
            "fidelity": self.fidelity.as_json(),
            "coverage": [
                {"agent_id": row.agent_id, "tool": row.tool, "checked": row.checked, "reproduced": row.reproduced}
                for row in self.rows
            ],
            "policies": [_policy_json(policy) for policy in self.policies],
        }


def report_in(details: Mapping[str, Any]) -> DriftReport:
    """Return the report that an event tells of.

    Raises:
        KeyError, TypeError, ValueError: it tells of none.
    """
    policies = [{**policy, "examples": tuple(policy["examples"])} for policy in details["policies"]]
    return DriftReport(
        checked_at_ns=details["checked_at_micros"] * 1000,
        window_seconds=details["window_seconds"],
        fidelity=fidelity_in(details["fidelity"]),
        rows=tuple(Reproduced(**row) for row in details["coverage"]),
        policies=tuple(PolicyDrift(**policy) for policy in policies),
    )


def reproduced(decisions: Sequence[RecordedDecision], checks: Sequence[Check]) -> tuple[Reproduced, ...]:
    """Return by agent and tool how many decisions came out again; a plan of several tools counts for each."""
    checked: Counter[tuple[str, str]] = Counter()
    again: Counter[tuple[str, str]] = Counter()
    for decision, check in zip(decisions, checks, strict=True):
        for tool in decision.tools or ("",):
            checked[decision.agent_id, tool] += 1
            again[decision.agent_id, tool] += check.doubt is None
    return tuple(Reproduced(*key, checked[key], again[key]) for key in sorted(checked)[:MOST_ROWS])


def policy_drift(name: str, revision: str, compared: Iterable[tuple[RecordedDecision, Comparison]]) -> PolicyDrift:
    """Return what a revision makes of decisions."""
    counts: Counter[str] = Counter()
    flipped: list[str] = []
    for decision, comparison in compared:
        counts["compared"] += 1
        match comparison.verdict_class:
            case VerdictClass.OUTCOME_FLIP:
                counts["looser" if comparison.direction is Direction.LOOSER else "stricter"] += 1
                counts["risky"] += comparison.risky
                flipped.append(decision.decision_id)
            case VerdictClass.ERROR | VerdictClass.INDETERMINATE:
                counts["undecided"] += 1
            case VerdictClass.REASON_ONLY | VerdictClass.OBLIGATION_CHANGE:
                counts["other"] += 1
    return PolicyDrift(
        name,
        revision,
        compared=counts["compared"],
        looser=counts["looser"],
        stricter=counts["stricter"],
        risky=counts["risky"],
        other=counts["other"],
        undecided=counts["undecided"],
        examples=tuple(flipped[:EXAMPLES]),
    )


def _policy_json(policy: PolicyDrift) -> Mapping[str, JsonValue]:
    return {
        "name": policy.name,
        "revision": policy.revision,
        "compared": policy.compared,
        "looser": policy.looser,
        "stricter": policy.stricter,
        "risky": policy.risky,
        "other": policy.other,
        "undecided": policy.undecided,
        "examples": list(policy.examples),
        "problem": policy.problem,
    }
