"""What a policy would have done to what agents did in some time, as their own telemetry tells it.

A call counts as allowed only where policy said so. What was not evaluated, or could not be decided because its
arguments are not on record, is unknown: it stands beside the numbers and in none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.recordings.recorded_trace import Evaluation, RecordedCall, RecordedTrace, strangers_in

ALLOWED, ESCALATED, BLOCKED, UNKNOWN = "ALLOW", "REQUIRE_APPROVAL", "DENY", "UNKNOWN"
OUTCOMES = (ALLOWED, ESCALATED, BLOCKED, UNKNOWN)
MOST_SAMPLES = 10
_NO_RULE = "no rule objected"


@dataclass(frozen=True, slots=True)
class Window:
    """Calls that began at ``since_ns`` or later and before ``until_ns``, in Unix nanoseconds; 0 is no bound."""

    since_ns: int = 0
    until_ns: int = 0

    def holds(self, call: RecordedCall) -> bool:
        """Return whether a call is of this time."""
        at = call.started_at_ns
        return self.since_ns <= at and (not self.until_ns or at < self.until_ns)


@dataclass(frozen=True, slots=True)
class Sample:
    """A call that would not have run, with the decision that says why."""

    trace_id: str
    tool: str
    outcome: str
    rules: tuple[str, ...]
    decision_id: str


@dataclass(slots=True)
class RecordedReport:
    """Counts of calls, by what would have become of them."""

    revision: str
    window: Window
    traces: int = 0
    hit_traces: int = 0
    without_prompts: int = 0
    without_arguments: int = 0
    unknown_to_policy: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    agents: dict[str, Counter[str]] = field(default_factory=dict)
    tools: dict[str, Counter[str]] = field(default_factory=dict)
    rules: dict[str, Counter[str]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Return how many calls are of this time."""
        return self.outcomes.total()

    def count(self, trace: RecordedTrace, evaluations: Mapping[tuple[str, str], Evaluation]) -> None:
        """Count the calls of one trace."""
        held = [call for call in trace.calls if self.window.holds(call)]
        if not held:
            return
        self.traces += 1
        found = [self._count(trace, call, evaluations.get((trace.trace_id, call.span_id))) for call in held]
        self.hit_traces += not {BLOCKED, ESCALATED}.isdisjoint(found)
        self.without_prompts += 0 if trace.prompts else len(held)

    def _count(self, trace: RecordedTrace, call: RecordedCall, evaluation: Evaluation | None) -> str:
        outcome = (evaluation.outcome if evaluation else "") or UNKNOWN
        self.outcomes[outcome] += 1
        self.agents.setdefault(trace.agent_id, Counter())[outcome] += 1
        self.tools.setdefault(call.tool, Counter())[outcome] += 1
        self.without_arguments += not call.arguments_json
        if evaluation is None or outcome == UNKNOWN:
            return outcome
        self.unknown_to_policy += strangers_in(evaluation.rules)
        for rule in evaluation.rules or (_NO_RULE,):
            self.rules.setdefault(rule, Counter())[outcome] += 1
        if outcome != ALLOWED and len(self.samples) < MOST_SAMPLES:
            self.samples.append(Sample(trace.trace_id, call.tool, outcome, evaluation.rules, evaluation.decision_id))
        return outcome


def report_json(report: RecordedReport) -> dict[str, Any]:
    """Return the report as JSON."""
    return {
        "revision": report.revision,
        "sinceUnixSeconds": report.window.since_ns // 1_000_000_000,
        "untilUnixSeconds": report.window.until_ns // 1_000_000_000,
        "traces": report.traces,
        "tracesHit": report.hit_traces,
        "calls": report.calls,
        "outcomes": _counts(report.outcomes),
        "coverage": {
            "withoutPrompts": report.without_prompts,
            "withoutArguments": report.without_arguments,
            "unknownToPolicy": report.unknown_to_policy,
        },
        "agents": _named(report.agents),
        "tools": _named(report.tools),
        "rules": _named(report.rules),
        "samples": [
            {
                "traceId": sample.trace_id,
                "tool": sample.tool,
                "outcome": sample.outcome,
                "rules": list(sample.rules),
                "decisionId": sample.decision_id,
            }
            for sample in report.samples
        ],
    }


def report_markdown(document: Mapping[str, Any]) -> str:
    """Return a report, as ``report_json`` gives it, as Markdown."""
    outcomes, coverage = document["outcomes"], document["coverage"]
    total = (
        f"Policy `{document['revision'][:12]}` on {document['calls']:,} recorded calls in {document['traces']:,} traces"
        f": {outcomes[BLOCKED]:,} blocked, {outcomes[ESCALATED]:,} escalated, {outcomes[ALLOWED]:,} allowed, "
        f"{outcomes[UNKNOWN]:,} unknown. {document['tracesHit']:,} traces would have gone otherwise."
    )
    known = (
        f"Of these calls {coverage['unknownToPolicy']:,} are blocked for want of an entry in the policy's tables, "
        f"{coverage['withoutArguments']:,} have no arguments on record and {coverage['withoutPrompts']:,} no prompt: "
        "what is not on record is unknown, and never counted as allowed."
    )
    head = ["# What this policy would have blocked", "", total, "", known]
    parts = [line for title in ("rules", "tools", "agents") for line in _markdown_table(title, document[title])]
    samples = [
        f"| {sample['outcome']} | {_cell(sample['tool'])} | {', '.join(sample['rules'])} | `{sample['decisionId']}` |"
        for sample in document["samples"]
    ]
    shown = ["", "## Samples", "", "| outcome | tool | rules | decision |", "| --- | --- | --- | --- |", *samples]
    return "\n".join([*head, *parts, *(shown if samples else []), ""])


def _markdown_table(title: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"| {_cell(row['name'])} | {row[BLOCKED]:,} | {row[ESCALATED]:,} | {row[ALLOWED]:,} | {row[UNKNOWN]:,} |"
        for row in rows
    ]
    heading = f"| {title.removesuffix('s')} | blocked | escalated | allowed | unknown |"
    return ["", f"## By {title.removesuffix('s')}", "", heading, "| --- | ---: | ---: | ---: | ---: |", *lines]


def _cell(text: str) -> str:
    # Names come from traces that others wrote.
    return "".join(character if character.isprintable() else "�" for character in text).replace("|", "\\|") or "(none)"


def _counts(counter: Counter[str]) -> dict[str, JsonValue]:
    return {outcome: counter[outcome] for outcome in OUTCOMES}


def _named(counters: Mapping[str, Counter[str]]) -> list[dict[str, JsonValue]]:
    """Return the names with their counts; what would have been stopped most often comes first."""
    order = sorted(counters, key=lambda name: (-counters[name][BLOCKED], -counters[name][ESCALATED], name))
    return [{"name": name, **_counts(counters[name])} for name in order]
