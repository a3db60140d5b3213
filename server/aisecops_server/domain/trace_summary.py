"""One line about a trace, grown decision by decision.

The outcome is the most restrictive of its decisions and the trust the worst, so that a later harmless decision
never hides an earlier blocked one. Agent and intent are those that opened the trace, the revision is that of the
latest decision, and the mode too, unless one of them was real.
"""

from __future__ import annotations

from dataclasses import replace

from aisecops_server.domain.decision import Mode, Outcome, most_restrictive
from aisecops_server.domain.provenance import TrustLevel
from aisecops_server.domain.record import DecisionRecord, TraceSummary


def opened(record: DecisionRecord) -> TraceSummary:
    """Return the summary of a trace that begins with ``record``."""
    decision = record.decision
    return TraceSummary(
        trace_id=decision.trace_id,
        agent_id=record.agent_id,
        outcome=decision.outcome.value,
        mode=decision.mode.value,
        intent=record.intent,
        tools=tuple(sorted(set(record.tools))),
        rules=_rules(record),
        lowest_trust=record.lowest_trust,
        bundle_revision=decision.bundle_revision,
        decisions=1,
        started_at_ns=min(event.occurred_at_ns for event in record.events),
        last_at_ns=max(event.occurred_at_ns for event in record.events),
    )


def extended(summary: TraceSummary, record: DecisionRecord) -> TraceSummary:
    """Return ``summary`` with one more decision in it."""
    added = opened(record)
    return replace(
        summary,
        outcome=most_restrictive([Outcome(summary.outcome), Outcome(added.outcome)]).value,
        # A dry run beside it does not make a real decision one that was only tried.
        mode=summary.mode if summary.mode == Mode.ENFORCE.value else added.mode,
        tools=_union(summary.tools, added.tools),
        rules=_union(summary.rules, added.rules),
        lowest_trust=_worst(summary.lowest_trust, added.lowest_trust),
        bundle_revision=added.bundle_revision,
        decisions=summary.decisions + 1,
        last_at_ns=max(summary.last_at_ns, added.last_at_ns),
    )


def _rules(record: DecisionRecord) -> tuple[str, ...]:
    return tuple(sorted({finding.rule for finding in record.decision.conclusion.findings}))


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return first if first == second else tuple(sorted({*first, *second}))


def _worst(first: str, second: str) -> str:
    return max(first, second, key=lambda level: TrustLevel(level).rank)
