"""The events of one decision, stage by stage, in the order in which a timeline shows them.

The last event is always the outcome and carries the whole decision; the stages before it say what each check
looked at and found. Each names the revision that decided, so that an event found alone still says by which policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from aisecops_server.domain.decisions.decision import Decision, Finding, Outcome
from aisecops_server.domain.events.event import CONCLUDED, Event, EventId, Stage, make_event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.plans.plan import ExecutionPlan

# A stage of a decision: its event's type, and the facts that it looked at.
_Looked = tuple[Stage, str, Mapping[str, JsonValue]]

# Rule categories that have a stage of their own; every other category is policy.
_STAGE_OF_CATEGORY = {
    "plan": Stage.PLAN_EXTRACTION,
    "identity": Stage.IDENTITY,
    "capability": Stage.CAPABILITY,
    "mcp": Stage.MCP,
    "budget": Stage.BUDGET,
    "approval": Stage.APPROVAL,
}


def stage_of(rule: str) -> Stage:
    """Return the stage in which a rule's findings are shown."""
    return _STAGE_OF_CATEGORY.get(rule.partition(".")[0], Stage.POLICY)


def decision_events(
    decision: Decision,
    plan: ExecutionPlan,
    *,
    details: Mapping[str, JsonValue],
    next_id: Callable[[], EventId],
    told: Sequence[Event] = (),
) -> tuple[Event, ...]:
    """Return the events of ``decision``; ``details`` is the decision as JSON, kept in the outcome event.

    ``told`` are the events of what runtime controls changed for it.
    """
    stages: list[_Looked] = [
        (Stage.PLAN_EXTRACTION, "plan.received", _plan_facts(decision, plan)),
        (Stage.IDENTITY, "identity.verified", _identity_facts(decision, plan)),
        (Stage.CAPABILITY, "capability.checked", {"steps": _step_facts(decision)}),
        (Stage.POLICY, "policy.evaluated", _policy_facts(decision)),
        (Stage.MCP, "mcp.checked", {"servers": sorted({step.server for step in plan.steps})}),
        (Stage.BUDGET, "budget.checked", {"calls": len(plan.steps), "earlier_calls": len(plan.history)}),
    ]
    before = _stage_events(decision, stages, next_id)
    return (*before, *told, _event(next_id(), decision, Stage.OUTCOME, CONCLUDED, details=details))


def screening_events(
    decision: Decision,
    texts: ExecutionPlan,
    *,
    received: Mapping[str, JsonValue],
    details: Mapping[str, JsonValue],
    next_id: Callable[[], EventId],
    told: Sequence[Event] = (),
) -> tuple[Event, ...]:
    """Return the events of a decision about ``texts``; ``received`` says which texts came, ``details`` is the decision.

    A text proposes no call, so no capability, server or budget is looked up for it. ``told`` as for a plan.
    """
    stages: list[_Looked] = [
        (Stage.PLAN_EXTRACTION, "text.received", {**_plan_facts(decision, texts), **received}),
        (Stage.IDENTITY, "identity.verified", _identity_facts(decision, texts)),
        (Stage.POLICY, "policy.evaluated", _policy_facts(decision)),
    ]
    before = _stage_events(decision, stages, next_id)
    return (*before, *told, _event(next_id(), decision, Stage.OUTCOME, CONCLUDED, details=details))


def _stage_events(decision: Decision, stages: Sequence[_Looked], next_id: Callable[[], EventId]) -> list[Event]:
    """Return what each stage looked at and found; that people are needed is a stage of its own, and the last."""
    found = _rules_by_stage(decision.conclusion.findings)
    if decision.outcome is Outcome.REQUIRE_APPROVAL:
        stages = [*stages, (Stage.APPROVAL, "approval.required", {"plan_hash": decision.plan_hash})]
    return [
        _event(
            next_id(),
            decision,
            stage,
            kind,
            details={**facts, **_policy_of(decision), "rules": found.get(stage, [])},
        )
        for stage, kind, facts in stages
    ]


def _policy_of(decision: Decision) -> dict[str, JsonValue]:
    return {"tenant": decision.tenant, "bundle_revision": decision.bundle_revision}


def _event(id: EventId, decision: Decision, stage: Stage, kind: str, *, details: Mapping[str, JsonValue]) -> Event:
    return make_event(
        id=id,
        trace_id=decision.trace_id,
        plan_id=decision.plan_id,
        decision_id=decision.id,
        stage=stage,
        type=kind,
        occurred_at_ns=decision.decided_at_ns,
        details=details,
    )


def _rules_by_stage(findings: Sequence[Finding]) -> dict[Stage, list[JsonValue]]:
    found: dict[Stage, list[JsonValue]] = {}
    for finding in findings:
        found.setdefault(stage_of(finding.rule), []).append({"rule": finding.rule, "step": finding.step_id})
    return found


def _plan_facts(decision: Decision, plan: ExecutionPlan) -> Mapping[str, JsonValue]:
    return {
        "intent": plan.intent,
        "plan_hash": decision.plan_hash,
        "steps": [{"id": step.id, "tool": step.tool} for step in plan.steps],
        "sources": dict(Counter(source.kind.value for source in plan.sources)),
        **({"parent_span_id": plan.parent_span_id} if plan.parent_span_id else {}),
    }


def _identity_facts(decision: Decision, plan: ExecutionPlan) -> Mapping[str, JsonValue]:
    return {
        "principal": decision.principal.id,
        "authenticated_by": decision.principal.authenticated_by,
        "session_id": plan.session_id,
        "delegation": [link.agent_id for link in plan.delegation],
    }


def _step_facts(decision: Decision) -> list[JsonValue]:
    return [
        {"id": step.step_id, "capability": step.capability, "granted_by": step.granted_by, "grant": step.grant}
        for step in decision.conclusion.steps
    ]


def _policy_facts(decision: Decision) -> Mapping[str, JsonValue]:
    return {
        "bundle_digest": decision.bundle_digest,
        "engine_version": decision.engine_version,
        "document_digest": decision.document_digest,
        "evaluation_micros": decision.evaluation_ns // 1000,
    }
