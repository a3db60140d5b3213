"""From the stored JSON of a decision to the API's messages.

There is one way: a decision that was just concluded is shown from the same details that the log keeps, so an
answer and its later retry are the same byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from aisecops.v1 import budget_pb2, decision_pb2, decision_service_pb2, grant_pb2, principal_pb2
from aisecops.v1.plan_pb2 import Delegate
from aisecops.v1.provenance_pb2 import SourceKind, TrustLevel
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from aisecops_server.domain.bundles.bundle import RuleDoc
from aisecops_server.domain.callers.identity import DEFAULT_TENANT
from aisecops_server.domain.decisions.held_lines import Mark
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.log.record import Receipt, StoredDecision
from aisecops_server.usecases.decisions.decide import Decided
from aisecops_server.usecases.decisions.explain import Explanation

Rules = Mapping[str, RuleDoc]
SignReceipt = Callable[[Receipt], str]
OUTCOMES = {name.removeprefix("OUTCOME_"): number for name, number in decision_pb2.Outcome.items()}
MODES = {name.removeprefix("MODE_"): number for name, number in decision_pb2.Mode.items()}
_POLICY_MODES = {name.removeprefix("POLICY_MODE_").lower(): number for name, number in decision_pb2.PolicyMode.items()}
EFFECTS = {name.removeprefix("EFFECT_").lower(): number for name, number in decision_pb2.Effect.items()}
_KINDS = {name.removeprefix("SOURCE_KIND_").lower(): number for name, number in SourceKind.items()}
TRUST = {name.removeprefix("TRUST_LEVEL_").lower(): number for name, number in TrustLevel.items()}


def decide_response(
    decided: Decided, sign: SignReceipt, grants: Sequence[grant_pb2.Grant] = ()
) -> decision_service_pb2.DecideResponse:
    """Return the answer to one plan, with the grants that it gives."""
    return decision_service_pb2.DecideResponse(
        decision=decision_message(decided.details),
        receipt=receipt_message(decided.receipt, sign),
        approval_id=str(decided.details.get("approval_id", "")),
        grants=grants,
    )


def decision_message(details: Mapping[str, JsonValue], rules: Rules | None = None) -> decision_pb2.Decision:
    """Return a decision; with ``rules``, its findings say where the rules stand."""
    fields: Mapping[str, Any] = details
    return decision_pb2.Decision(
        decision_id=fields["decision_id"],
        trace_id=fields["trace_id"],
        plan_id=fields["plan_id"],
        outcome=OUTCOMES[fields["outcome"]],
        mode=MODES[fields["mode"]],
        findings=[_finding(finding, rules or {}) for finding in fields["findings"]],
        steps=[_step(step) for step in fields["steps"]],
        obligations=[_obligation(obligation) for obligation in fields["obligations"]],
        sources=[_source(source) for source in fields["sources"]],
        bundle_revision=fields["bundle_revision"],
        bundle_digest=fields["bundle_digest"],
        # Decisions from before there were tenants name none.
        tenant=fields.get("tenant", DEFAULT_TENANT),
        engine_version=fields["engine_version"],
        document_digest=fields["document_digest"],
        plan_hash=fields["plan_hash"],
        principal=principal_pb2.Principal(**fields["principal"]),
        decided_at=timestamp(fields["decided_at_micros"] * 1000),
        evaluation=_duration(fields["evaluation_ns"]),
        risk_score_milli=fields["risk_score_milli"],
        explanation=fields["explanation"],
        budgets=list(map(_budget_use, fields.get("charges", ()), fields.get("budgets", ()))),
        policy_mode=_POLICY_MODES.get(fields.get("policy_mode", ""), decision_pb2.POLICY_MODE_UNSPECIFIED),
        # Decisions from before there were modes say nothing of what they would have been.
        would_outcome=OUTCOMES[fields.get("would_outcome", fields["outcome"])],
        approval_demand=_demand(fields.get("approval_demand")),
        approved_by=fields.get("approved_by", ""),
    )


def receipt_message(receipt: Receipt, sign: SignReceipt) -> decision_pb2.Receipt:
    """Return the proof of logging, which the log signs."""
    return decision_pb2.Receipt(
        event_id=receipt.event_id,
        log_index=receipt.log_index,
        leaf_hash=receipt.leaf_hash.hex(),
        replayed=receipt.replayed,
        signed=sign(receipt),
    )


def explain_response(explanation: Explanation) -> decision_service_pb2.ExplainResponse:
    """Return the answers to an investigator's questions."""
    stored = explanation.stored
    document: Mapping[str, Any] = orjson.loads(stored.document) if stored.document else {}
    return decision_service_pb2.ExplainResponse(
        decision=decision_message(stored.details, explanation.rules),
        document_json=stored.document,
        initiator=_initiator(stored),
        # A document about texts proposes no steps.
        influences=list(_influences(document.get("plan", {}).get("steps", []))),
        capabilities=[_capability(step) for step in _sequence(stored.details["steps"])],
        replay=decision_service_pb2.Replayability(reproduced=explanation.reproduced, reason=explanation.why_not),
        trace_text=explanation.trace_text,
        lines=[
            decision_service_pb2.ReachedLine(file=file, number=number, held=mark is Mark.HELD)
            for (file, number), mark in sorted(explanation.lines.items())
        ],
    )


def timestamp(nanoseconds: int) -> Timestamp:
    """Return a time given in Unix nanoseconds."""
    return Timestamp(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)


def _finding(finding: Mapping[str, Any], rules: Rules) -> decision_pb2.Finding:
    rule = rules.get(finding["rule"])
    return decision_pb2.Finding(
        rule=finding["rule"],
        title=finding["title"],
        message=finding["message"],
        effect=EFFECTS[finding["effect"]],
        would_effect=EFFECTS[finding.get("would_effect", finding["effect"])],
        severity=finding["severity"],
        step_id=finding["step"],
        facts=[
            decision_pb2.Fact(pointer=fact["pointer"], value_json=canonical_bytes(fact["value"]).decode())
            for fact in finding["facts"]
        ],
        remedy=finding["remedy"],
        location=decision_pb2.RuleLocation(file=rule.file, line=rule.line) if rule else None,
    )


def _step(step: Mapping[str, Any]) -> decision_pb2.StepDecision:
    return decision_pb2.StepDecision(
        step_id=step["id"],
        outcome=OUTCOMES[step["outcome"]],
        capability=step["capability"],
        grant=step.get("grant", ""),
        granted_by=step["granted_by"],
    )


def _demand(demand: Mapping[str, Any] | None) -> decision_pb2.ApprovalDemand | None:
    if demand is None:
        return None
    return decision_pb2.ApprovalDemand(
        approvers_required=demand["approvers_required"],
        groups=demand["groups"],
        expires_seconds=demand["expires_seconds"],
        step_ids=demand["steps"],
    )


def _budget_use(charge: Mapping[str, Any], stood: Mapping[str, Any]) -> budget_pb2.BudgetUse:
    resets_at = stood["resets_at_seconds"]
    return budget_pb2.BudgetUse(
        name=stood["budget"],
        amount=charge["amount"],
        limit=charge["limit"],
        used=stood["used"],
        reserved=stood["reserved"],
        frozen=stood["frozen"],
        resets_at=Timestamp(seconds=resets_at) if resets_at else None,
        enforced=charge["enforced"],
    )


def _obligation(obligation: Mapping[str, Any]) -> decision_pb2.Obligation:
    return decision_pb2.Obligation(
        kind=obligation["kind"],
        step_id=obligation["step"],
        parameters_json=canonical_bytes(obligation["parameters"]).decode(),
    )


def _source(source: Mapping[str, Any]) -> decision_pb2.SourceTrust:
    return decision_pb2.SourceTrust(
        source_id=source["id"],
        kind=_KINDS[source["kind"]],
        trust=TRUST[source["trust"]],
        verified=source["verified"],
        name=source["name"],
        origin_uri=source["origin_uri"],
        digest=source["digest"],
    )


def _initiator(stored: StoredDecision) -> decision_service_pb2.Initiator:
    fields: Mapping[str, Any] = stored.details
    return decision_service_pb2.Initiator(
        agent_id=fields["principal"]["id"],
        session_id=fields["session_id"],
        delegation=[Delegate(**link) for link in fields["delegation"]],
    )


def _influences(steps: Sequence[Mapping[str, Any]]) -> Iterator[decision_service_pb2.Influence]:
    for step in steps:
        pointers: dict[str, list[str]] = {source: [] for source in step["influenced_by"]}
        for value in step["values"]:
            for occurrence in value["found"]:
                # What a value occurs in influenced the step, whether the agent said so or not.
                pointers.setdefault(occurrence["source"], []).append(value["pointer"])
        for source, found in pointers.items():
            yield decision_service_pb2.Influence(
                step_id=step["id"], source_id=source, pointers=list(dict.fromkeys(found))
            )


def _capability(step: Any) -> decision_service_pb2.CapabilityUse:
    return decision_service_pb2.CapabilityUse(
        step_id=step["id"],
        capability=step["capability"],
        granted=bool(step["granted_by"]),
        granted_by=step["granted_by"],
        grant=step.get("grant", ""),
    )


def _sequence(value: JsonValue) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _duration(nanoseconds: int) -> Duration:
    return Duration(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)
