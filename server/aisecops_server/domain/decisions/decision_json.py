"""A decision as the JSON that the log keeps: the details of its outcome event.

Everything that is ever shown of a decision is made from these details, whether it was just concluded or read
back years later, so that both are the same byte for byte. Times are microseconds and durations nanoseconds,
because larger integers are not safe in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping

from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.decisions.decision import (
    ApprovalDemand,
    Charge,
    Conclusion,
    Decision,
    Effect,
    Finding,
    Obligation,
    Outcome,
    StepDecision,
)
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.plan import ExecutionPlan
from aisecops_server.domain.plans.provenance import Source, TrustLevel

_EFFECT_OF_OUTCOME = {Outcome.DENY: Effect.DENY, Outcome.REQUIRE_APPROVAL: Effect.REQUIRE_APPROVAL}
_OPENING = {Outcome.DENY: "Denied", Outcome.REQUIRE_APPROVAL: "Approval required"}
_OBSERVED = {
    Outcome.DENY: "Allowed because policy only observes; enforced, it would be denied",
    Outcome.REQUIRE_APPROVAL: "Allowed because policy only observes; enforced, it would need approval",
}
# Who may do what at all is settled before what policy thinks of it, so that is told first.
_EARLIEST = {"plan": 0, "identity": 1, "capability": 2}
_MESSAGE_CHARACTERS = 300
# What a re-evaluation of the same document must give again; a record of an earlier version may lack the later ones.
CONCLUSION_FIELDS = (
    "outcome",
    "findings",
    "steps",
    "obligations",
    "trust",
    "risk_score_milli",
    "charges",
    "policy_mode",
    "would_outcome",
    "approval_demand",
    "approved_by",
)


def decision_details(decision: Decision, plan: ExecutionPlan) -> dict[str, JsonValue]:
    """Return the whole of ``decision``, with the facts of ``plan`` that explain it."""
    return {
        **conclusion_details(decision.conclusion),
        "decision_id": decision.id,
        "trace_id": decision.trace_id,
        "plan_id": decision.plan_id,
        "session_id": decision.session_id,
        "parent_trace_id": plan.parent_trace_id,
        "mode": decision.mode.value,
        "principal": _principal(decision.principal),
        "delegation": [{"agent_id": link.agent_id, "trace_id": link.trace_id} for link in plan.delegation],
        "sources": _sources(decision.conclusion, plan.sources),
        "tenant": decision.tenant,
        "bundle_revision": decision.bundle_revision,
        "bundle_digest": decision.bundle_digest,
        "engine_version": decision.engine_version,
        "document_digest": decision.document_digest,
        "plan_hash": decision.plan_hash,
        "decided_at_micros": decision.decided_at_ns // 1000,
        "evaluation_ns": decision.evaluation_ns,
        "approval": _approval_state(decision.conclusion),
        "explanation": explanation(decision.conclusion, plan),
    }


def conclusion_details(conclusion: Conclusion) -> dict[str, JsonValue]:
    """Return what a re-evaluation of the same document must give again."""
    return {
        "outcome": conclusion.outcome.value,
        "findings": [_finding(finding) for finding in conclusion.findings],
        "steps": [_step(step) for step in conclusion.steps],
        "obligations": [_obligation(obligation) for obligation in conclusion.obligations],
        "trust": {settled.source_id: settled.trust.value for settled in conclusion.sources},
        "risk_score_milli": conclusion.risk_score_milli,
        "charges": [_charge(charge) for charge in conclusion.charges],
        "policy_mode": conclusion.mode.value,
        "would_outcome": conclusion.would_outcome.value,
        "approval_demand": _demand(conclusion.approval),
        "approved_by": conclusion.approved_by,
    }


def explanation(conclusion: Conclusion, plan: ExecutionPlan) -> str:
    """Return one sentence that says why, for people."""
    observed = conclusion.outcome is Outcome.ALLOW
    counted = conclusion.would_outcome if observed else conclusion.outcome
    if counted is Outcome.ALLOW:
        return f"Allowed: {_plural(len(plan.steps), 'step')} within what policy grants."
    effect = _EFFECT_OF_OUTCOME[counted]
    opening = _OBSERVED[counted] if observed else _OPENING[counted]
    decisive = [
        finding for finding in conclusion.findings if (finding.would_effect if observed else finding.effect) is effect
    ]
    others = f" (and {_plural(len(decisive) - 1, 'more finding')})" if len(decisive) > 1 else ""
    first = min(decisive, key=lambda finding: _EARLIEST.get(finding.rule.partition(".")[0], len(_EARLIEST)))
    return f"{opening} by {_because(first, plan)}{others}."


def _because(finding: Finding, plan: ExecutionPlan) -> str:
    tool = next((step.tool for step in plan.steps if step.id == finding.step_id), "")
    place = f" at {tool}" if tool else ""
    return f"{finding.rule}{place}: {finding.message.rstrip('.')[:_MESSAGE_CHARACTERS]}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _principal(principal: Principal) -> dict[str, JsonValue]:
    return {
        "id": principal.id,
        "authenticated_by": principal.authenticated_by,
        "roles": sorted(role.value for role in principal.roles),
        "thumbprint": principal.thumbprint,
    }


def _sources(conclusion: Conclusion, sources: tuple[Source, ...]) -> list[JsonValue]:
    settled = {item.source_id: item.trust for item in conclusion.sources}
    # A source on which policy is silent counts as the least trusted.
    return [_source(source, settled.get(source.id, TrustLevel.UNVERIFIED)) for source in sources]


def _source(source: Source, trust: TrustLevel) -> Mapping[str, JsonValue]:
    return {
        "id": source.id,
        "kind": source.kind.value,
        "trust": trust.value,
        "verified": source.digest_verified,
        "name": source.name,
        "origin_uri": source.origin_uri,
        "digest": source.digest,
    }


def _finding(finding: Finding) -> Mapping[str, JsonValue]:
    return {
        "rule": finding.rule,
        "title": finding.title,
        "message": finding.message,
        "effect": finding.effect.value,
        "would_effect": finding.would_effect.value,
        "severity": finding.severity.value,
        "step": finding.step_id,
        "facts": [{"pointer": fact.pointer, "value": fact.value} for fact in finding.facts],
        "remedy": finding.remedy,
    }


def _step(step: StepDecision) -> Mapping[str, JsonValue]:
    return {
        "id": step.step_id,
        "outcome": step.outcome.value,
        "capability": step.capability,
        "granted_by": step.granted_by,
        "grant": step.grant,
    }


def _charge(charge: Charge) -> Mapping[str, JsonValue]:
    return {
        "subject": charge.subject,
        "id": charge.id,
        "metric": charge.metric,
        "window": charge.window,
        "amount": charge.amount,
        "spent": charge.spent,
        "steps": {str(step): amount for step, amount in charge.steps.items()},
        "limit": charge.limit,
        "enforced": charge.enforced,
    }


def _demand(demand: ApprovalDemand | None) -> Mapping[str, JsonValue] | None:
    if demand is None:
        return None
    return {
        "approvers_required": demand.approvers_required,
        "groups": list(demand.groups),
        "expires_seconds": demand.expires_seconds,
        "steps": list(demand.step_ids),
    }


def _approval_state(conclusion: Conclusion) -> str:
    if conclusion.approval is not None:
        return "required"
    return "granted" if conclusion.approved_by else "not_required"


def _obligation(obligation: Obligation) -> Mapping[str, JsonValue]:
    return {"kind": obligation.kind, "step": obligation.step_id, "parameters": obligation.parameters}
