"""What the events of the log add up to, for whoever watches many systems at once.

Counts only: who, which tool, which rule, which outcome; no text of anybody. They begin when the process does, as
counters of a monitoring system may. How many values a label has is bounded, because callers choose some of them.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aisecops_server.domain.events.event import CONCLUDED

MOST_SERIES = 1000
OTHER = "other"
# Plans whose decision is not there yet; they follow at once.
_MOST_OPEN = 4096

METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "decisions": ("Decisions, by outcome and mode.", ("outcome", "mode")),
    "blocked_plans": ("Execution plans that were denied, by agent.", ("agent",)),
    "blocked_plans_by_tool": ("Execution plans that were denied, by each tool that they name.", ("tool",)),
    "blocked_plans_by_rule": ("Execution plans that were denied, by each rule that denied.", ("rule",)),
    "approvals": ("What became of requests for approval, by event.", ("event",)),
    "incidents": ("Calls that ran otherwise than they were decided, by kind.", ("kind",)),
    "calls": ("Granted calls, by tool and what came of them.", ("tool", "outcome")),
    "sources": ("Sources of decisions, by kind and by the trust that policy settled.", ("kind", "trust")),
    "policy_changes": ("Changes of which policy is live, by event.", ("event",)),
    "announcements": ("What became of a channel's announcements, by event.", ("event",)),
    "drift": ("Looks for drift, by what they found.", ("event",)),
    "evaluation_nanoseconds": ("Time that the engine took for decisions.", ()),
}

# Families of events that are counted by what happened, under another name.
_NAMES = {
    "approval": "approvals",
    "incident": "incidents",
    "bundle": "policy_changes",
    "announcement": "announcements",
}

Labels = tuple[str, ...]


@dataclass(slots=True)
class EventCounts:
    """Counts that grow with every event."""

    series: dict[str, Counter[Labels]] = field(default_factory=lambda: {name: Counter() for name in METRICS})
    _tools: OrderedDict[str, tuple[str, ...]] = field(default_factory=OrderedDict)

    def add(self, type: str, decision_id: str, details: Mapping[str, Any]) -> None:
        """Count one event."""
        for name, labels, amount in self._counted(type, decision_id, details):
            series = self.series[name]
            known = labels if labels in series or len(series) < MOST_SERIES else (OTHER,) * len(labels)
            series[known] += amount

    def _counted(self, type: str, decision_id: str, details: Mapping[str, Any]) -> Iterator[tuple[str, Labels, int]]:
        family, _, what = type.partition(".")
        if type == "plan.received":
            self._tools[decision_id] = tuple(sorted({str(step.get("tool", "")) for step in _parts(details, "steps")}))
            while len(self._tools) > _MOST_OPEN:
                self._tools.popitem(last=False)
        elif type == CONCLUDED:
            yield from self._decision(details, self._tools.pop(decision_id, ()))
        elif family in (*_NAMES, "drift"):
            name = _NAMES.get(family, family)
            yield name, (what,), 1
        elif family == "execution":
            # Of a grant that was never used up, nothing came.
            unused = what == "expired_unknown" and details.get("redeemed") is False
            yield "calls", (str(details.get("tool", "")), "expired_unused" if unused else what), 1

    def _decision(self, details: Mapping[str, Any], tools: Iterable[str]) -> Iterator[tuple[str, Labels, int]]:
        outcome = str(details.get("outcome", ""))
        yield "decisions", (outcome, str(details.get("mode", ""))), 1
        yield "evaluation_nanoseconds", (), int(details.get("evaluation_ns", 0))
        if outcome == "DENY":
            principal = details.get("principal")
            yield "blocked_plans", (str(principal.get("id", "")) if isinstance(principal, Mapping) else "",), 1
            yield from (("blocked_plans_by_tool", (tool,), 1) for tool in tools)
            denied = {
                str(found.get("rule", "")) for found in _parts(details, "findings") if found.get("effect") == "deny"
            }
            yield from (("blocked_plans_by_rule", (rule,), 1) for rule in sorted(denied))
        sources = _parts(details, "sources")
        yield from (("sources", (str(source.get("kind", "")), str(source.get("trust", ""))), 1) for source in sources)
        if not sources:
            yield "sources", ("none", "unverified"), 1


def _parts(details: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = details.get(name)
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list) else []
