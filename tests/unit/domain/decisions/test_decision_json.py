"""The stored form of a decision is whole, canonical and survives the log."""

from __future__ import annotations

import json
from dataclasses import replace

from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import (
    ApprovalDemand,
    Charge,
    Conclusion,
    Decision,
    DecisionId,
    Effect,
    Fact,
    Finding,
    Mode,
    Obligation,
    Outcome,
    PolicyMode,
    Severity,
    SourceTrust,
    StepDecision,
)
from aisecops_server.domain.decisions.decision_json import conclusion_details, decision_details, explanation
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.plans.plan import StepId
from aisecops_server.domain.plans.plan_builder import DelegateDraft, build_plan
from aisecops_server.domain.plans.provenance import TrustLevel

from tests.unit.domain.drafts import DRAFT, FRESH

PLAN = build_plan(replace(DRAFT, delegation=(DelegateDraft("boss", "c" * 32),), session_id="chat"), FRESH)
FINDING = Finding(
    rule="provenance.ungrounded",
    title="Ungrounded",
    message="nobody named this recipient.",
    effect=Effect.DENY,
    would_effect=Effect.DENY,
    severity=Severity.HIGH,
    step_id="s1",
    facts=(Fact("/plan/steps/0", {"share": 1.0}),),
    remedy="ask",
)
CHARGE = Charge(
    subject="agent",
    id="agent-a",
    metric="calls",
    window="day",
    amount=1,
    spent=0,
    steps={StepId("s1"): 1},
    limit=50,
    enforced=True,
)
CONCLUSION = Conclusion(
    outcome=Outcome.DENY,
    would_outcome=Outcome.DENY,
    mode=PolicyMode.ENFORCE,
    findings=(FINDING,),
    steps=(StepDecision(StepId("s1"), Outcome.DENY, "mail", "team-a", "agent-a#mail"),),
    obligations=(Obligation("redact", "s1", {"fields": ["to"]}),),
    sources=(SourceTrust("prompt", TrustLevel.TRUSTED),),
    risk_score_milli=700,
    charges=(CHARGE,),
    approval=None,
    approved_by="",
)
DECISION = Decision(
    id=DecisionId("dec-1"),
    trace_id=PLAN.trace_id,
    plan_id=PLAN.id,
    session_id=PLAN.session_id,
    mode=Mode.ENFORCE,
    conclusion=CONCLUSION,
    principal=Principal(PrincipalId("agent-a"), "token", frozenset({Role.AGENT, Role.APP}), "c" * 64),
    bundle_revision="a" * 40,
    bundle_digest="b" * 64,
    engine_version="1.22.2",
    document_digest="d" * 64,
    plan_hash="e" * 64,
    decided_at_ns=1_800_000_000_123_456_789,
    evaluation_ns=987_654,
)


def test_the_details_hold_the_whole_decision() -> None:
    details = json.loads(canonical_bytes(decision_details(DECISION, PLAN)))
    assert details.pop("sources") == [
        {
            "id": "prompt",
            "kind": "user_prompt",
            "trust": "trusted",
            "verified": True,
            "name": "",
            "origin_uri": "",
            "digest": PLAN.sources[0].digest,
        }
    ]
    assert details["charges"] == [
        {
            "subject": "agent",
            "id": "agent-a",
            "metric": "calls",
            "window": "day",
            "amount": 1,
            "spent": 0,
            "steps": {"s1": 1},
            "limit": 50,
            "enforced": True,
        }
    ]
    assert details == {
        **json.loads(canonical_bytes(conclusion_details(CONCLUSION))),
        "decision_id": "dec-1",
        "trace_id": "f" * 32,
        "plan_id": "plan-fresh",
        "session_id": "chat",
        "tenant": "default",
        "parent_trace_id": "c" * 32,
        "mode": "ENFORCE",
        "principal": {"id": "agent-a", "authenticated_by": "token", "roles": ["agent", "app"], "thumbprint": "c" * 64},
        "delegation": [{"agent_id": "boss", "trace_id": "c" * 32}],
        "bundle_revision": "a" * 40,
        "bundle_digest": "b" * 64,
        "engine_version": "1.22.2",
        "document_digest": "d" * 64,
        "plan_hash": "e" * 64,
        "decided_at_micros": 1_800_000_000_123_456,
        "evaluation_ns": 987_654,
        "approval": "not_required",
        "explanation": "Denied by provenance.ungrounded at mail/send: nobody named this recipient.",
    }


def test_a_conclusion_equals_its_stored_form() -> None:
    fresh = conclusion_details(CONCLUSION)
    assert json.loads(canonical_bytes(fresh)) == fresh


def test_a_source_on_which_policy_is_silent_is_unverified() -> None:
    silent = replace(DECISION, conclusion=replace(CONCLUSION, sources=()))
    sources = decision_details(silent, PLAN)["sources"]
    assert [source["trust"] for source in json.loads(canonical_bytes(sources))] == ["unverified"]


def test_the_explanation_names_the_decisive_rule_and_counts_the_others() -> None:
    whole = replace(FINDING, rule="identity.unknown", step_id="", message="who?")
    warning = replace(FINDING, effect=Effect.WARN, would_effect=Effect.WARN)
    conclusion = replace(CONCLUSION, findings=(warning, whole, FINDING, FINDING))
    assert explanation(conclusion, PLAN) == "Denied by identity.unknown: who? (and 2 more findings)."
    ungranted = replace(FINDING, rule="capability.capability_not_granted", message="none held")
    assert explanation(replace(CONCLUSION, findings=(FINDING, ungranted)), PLAN).startswith(
        "Denied by capability.capability_not_granted at mail/send: none held"
    )
    asked = replace(
        CONCLUSION, outcome=Outcome.REQUIRE_APPROVAL, findings=(replace(FINDING, effect=Effect.REQUIRE_APPROVAL),)
    )
    assert explanation(asked, PLAN).startswith("Approval required by provenance.ungrounded at mail/send: ")
    allowed = replace(CONCLUSION, outcome=Outcome.ALLOW, would_outcome=Outcome.ALLOW, findings=(warning,))
    assert explanation(allowed, PLAN) == "Allowed: 1 step within what policy grants."


def test_what_is_only_observed_is_explained_by_what_would_have_been() -> None:
    observed = replace(CONCLUSION, outcome=Outcome.ALLOW, findings=(replace(FINDING, effect=Effect.WARN),))
    assert explanation(observed, PLAN) == (
        "Allowed because policy only observes; enforced, it would be denied by "
        "provenance.ungrounded at mail/send: nobody named this recipient."
    )


def test_the_state_of_an_approval_is_required_granted_or_not_required() -> None:
    demand = ApprovalDemand(2, ("finance",), 600, (StepId("s1"),))
    asked = replace(DECISION, conclusion=replace(CONCLUSION, outcome=Outcome.REQUIRE_APPROVAL, approval=demand))
    asked = replace(
        asked, conclusion=replace(asked.conclusion, findings=(replace(FINDING, effect=Effect.REQUIRE_APPROVAL),))
    )
    details = decision_details(asked, PLAN)
    assert details["approval"] == "required"
    assert details["approval_demand"] == {
        "approvers_required": 2,
        "groups": ["finance"],
        "expires_seconds": 600,
        "steps": ["s1"],
    }
    granted = decision_details(replace(DECISION, conclusion=replace(CONCLUSION, approved_by="apr-1")), PLAN)
    assert (granted["approval"], granted["approved_by"]) == ("granted", "apr-1")
