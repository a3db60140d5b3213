"""One line about a trace, grown decision by decision.

The outcome is the most restrictive of its decisions and the trust the worst, so that a later harmless decision
never hides an earlier blocked one, and a trace is found by every agent that decided in it. The agent is the one that
opened the trace and the intent that of its first plan, the revision is that of the latest decision, and the mode too,
unless one was real.

All of it stands in the log as well: ``proven`` reads it back from a decision's outcome event and its plan event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aisecops_server.domain.decisions.decision import Mode, Outcome, most_restrictive
from aisecops_server.domain.events.event import public_details
from aisecops_server.domain.log.record import DecisionRecord, TraceSummary
from aisecops_server.domain.log.trace_figures import figures_of, together
from aisecops_server.domain.log.trace_gates import worst_of
from aisecops_server.domain.plans.provenance import TrustLevel

# What opens the events of a decision: a plan, or texts, which have no steps.
RECEIVED = ("plan.received", "text.received")
_RANKS = {level.value: level.rank for level in TrustLevel}


def opened(record: DecisionRecord) -> TraceSummary:
    """Return the summary of a trace that begins with ``record``."""
    decision = record.decision
    figures = figures_of(public_details(record.events[-1].body), steps=_steps(record))
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
        started_at_ns=record.events[-1].occurred_at_ns,
        last_at_ns=record.events[-1].occurred_at_ns,
        agents=(record.agent_id,),
        effects=figures.effects,
        steps=figures.steps,
        tokens=figures.tokens,
        micro_usd=figures.micro_usd,
        budget_share=figures.budget_share,
        gates=figures.gates,
    )


def proven(outcome: Mapping[str, Any], plan: Mapping[str, Any], *, trace_id: str, occurred_at_ns: int) -> TraceSummary:
    """Return what ``opened`` made of a decision, from the details of its outcome event and of its plan event.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the details are not those of a decision.
    """
    figures = figures_of(outcome, steps=len(plan["steps"]))
    return TraceSummary(
        trace_id=trace_id,
        agent_id=outcome["principal"]["id"],
        outcome=outcome["outcome"],
        mode=outcome["mode"],
        intent=plan["intent"],
        tools=tuple(sorted({step["tool"] for step in plan["steps"]})),
        rules=tuple(sorted({finding["rule"] for finding in outcome["findings"]})),
        lowest_trust=max(outcome["trust"].values(), key=_RANKS.__getitem__, default=TrustLevel.UNVERIFIED.value),
        bundle_revision=outcome["bundle_revision"],
        decisions=1,
        started_at_ns=occurred_at_ns,
        last_at_ns=occurred_at_ns,
        agents=(outcome["principal"]["id"],),
        effects=figures.effects,
        steps=figures.steps,
        tokens=figures.tokens,
        micro_usd=figures.micro_usd,
        budget_share=figures.budget_share,
        gates=figures.gates,
    )


def joined(summary: TraceSummary, added: TraceSummary) -> TraceSummary:
    """Return ``summary`` with that of one later decision in it."""
    return replace(
        summary,
        outcome=most_restrictive([Outcome(summary.outcome), Outcome(added.outcome)]).value,
        # A dry run beside it does not make a real decision one that was only tried.
        mode=summary.mode if summary.mode == Mode.ENFORCE.value else added.mode,
        # Texts that were screened first say nothing of what is to be done.
        intent=summary.intent if summary.tools else summary.intent or added.intent,
        tools=_union(summary.tools, added.tools),
        rules=_union(summary.rules, added.rules),
        lowest_trust=_worst(summary.lowest_trust, added.lowest_trust),
        bundle_revision=added.bundle_revision,
        decisions=summary.decisions + 1,
        last_at_ns=max(summary.last_at_ns, added.last_at_ns),
        agents=_union(summary.agents, added.agents),
        effects=_union(summary.effects, added.effects),
        steps=together(summary.steps, added.steps),
        tokens=together(summary.tokens, added.tokens),
        micro_usd=together(summary.micro_usd, added.micro_usd),
        budget_share=max(summary.budget_share, added.budget_share),
        gates=worst_of(summary.gates, added.gates),
    )


def _steps(record: DecisionRecord) -> int:
    received = next((event for event in reversed(record.events) if event.type in RECEIVED), None)
    return len(public_details(received.body)["steps"]) if received else 0


def _rules(record: DecisionRecord) -> tuple[str, ...]:
    return tuple(sorted({finding.rule for finding in record.decision.conclusion.findings}))


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return first if first == second else tuple(sorted({*first, *second}))


def _worst(first: str, second: str) -> str:
    return max(first, second, key=_RANKS.__getitem__)
