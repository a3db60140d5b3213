"""Decision records for tests of the log: small, valid, and different wherever a test needs them to be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import (
    ApprovalDemand,
    Conclusion,
    Decision,
    DecisionId,
    Effect,
    Finding,
    Mode,
    Outcome,
    PolicyMode,
    Severity,
    StepDecision,
)
from aisecops_server.domain.events.event import Event, EventId, Stage, make_event
from aisecops_server.domain.formats.canonical import canonical_bytes, digest
from aisecops_server.domain.log.record import DecisionRecord, Idempotency, Receipt
from aisecops_server.domain.plans.plan import PlanId, SessionId, StepId, TraceId

START_NS = 1_700_000_000_000_000_000
STAGES = (
    (Stage.PLAN_EXTRACTION, "plan.received"),
    (Stage.IDENTITY, "identity.verified"),
    (Stage.CAPABILITY, "capability.checked"),
    (Stage.POLICY, "policy.evaluated"),
    (Stage.BUDGET, "budget.checked"),
)

_EFFECTS = {Outcome.DENY: Effect.DENY, Outcome.REQUIRE_APPROVAL: Effect.REQUIRE_APPROVAL, Outcome.ALLOW: Effect.WARN}


class Records:
    """Makes records whose identifiers never repeat, each a millisecond after the one before."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._numbers = itertools.count()

    def record(
        self,
        *,
        trace_id: str = "",
        agent: str = "agent-a",
        outcome: Outcome = Outcome.ALLOW,
        mode: Mode = Mode.ENFORCE,
        tools: Sequence[str] = ("mail/send",),
        rules: Sequence[str] = (),
        trust: str = "internal",
        revision: str = "1" * 40,
        intent: str = "answer the customer",
        key: str = "",
        request_digest: str = "request-1",
        document: bytes = b"",
        details: dict[str, object] | None = None,
    ) -> DecisionRecord:
        number = next(self._numbers)
        at = START_NS + number * 1_000_000
        document = document or canonical_bytes({"number": number, "prefix": self.prefix})
        decision = Decision(
            id=DecisionId(f"dec-{self.prefix}{number:020d}"),
            trace_id=TraceId(trace_id or digest(f"{self.prefix}{number}".encode())[:32]),
            plan_id=PlanId(f"plan-{self.prefix}{number}"),
            session_id=SessionId(""),
            mode=mode,
            conclusion=_conclusion(outcome, rules),
            principal=Principal(PrincipalId(agent), "test", frozenset({Role.AGENT})),
            bundle_revision=revision,
            bundle_digest="b" * 64,
            engine_version="1.22.2",
            document_digest=digest(document),
            plan_hash="c" * 64,
            decided_at_ns=at,
            evaluation_ns=1,
        )
        return DecisionRecord(
            decision=decision,
            document=document,
            events=self.events(decision, _plan_facts(intent, tools), {"trust": {"prompt": trust}, **(details or {})}),
            idempotency=Idempotency(agent, key, request_digest) if key else None,
            agent_id=agent,
            intent=intent,
            tools=tuple(tools),
            lowest_trust=trust,
        )

    def events(self, decision: Decision, plan: dict[str, object], details: dict[str, object]) -> tuple[Event, ...]:
        principal = decision.principal
        outcome = {
            "outcome": decision.outcome.value,
            "mode": decision.mode.value,
            "bundle_revision": decision.bundle_revision,
            "decision_id": decision.id,
            "decided_at_micros": decision.decided_at_ns // 1000,
            "evaluation_ns": decision.evaluation_ns,
            "steps": [{"id": step.step_id, "outcome": step.outcome.value} for step in decision.conclusion.steps],
            "findings": [
                {"rule": finding.rule, "effect": finding.effect.value, "step": finding.step_id}
                for finding in decision.conclusion.findings
            ],
            "sources": [],
            "principal": {"id": principal.id, "roles": sorted(role.value for role in principal.roles)},
            "document_digest": decision.document_digest,
            **details,
        }
        stages = [(stage, kind, plan if kind == "plan.received" else {"note": kind}) for stage, kind in STAGES]
        stages.append((Stage.OUTCOME, "decision.concluded", outcome))
        return tuple(
            make_event(
                id=EventId(f"{decision.id}-{at}"),
                trace_id=decision.trace_id,
                plan_id=decision.plan_id,
                decision_id=decision.id,
                stage=stage,
                type=kind,
                occurred_at_ns=decision.decided_at_ns,
                details=facts,
            )
            for at, (stage, kind, facts) in enumerate(stages)
        )

    def control_event(self, *, trace_id: str = "", kind: str = "bundle.activated") -> Event:
        """An event that belongs to no decision."""
        number = next(self._numbers)
        return make_event(
            id=EventId(f"evt-{self.prefix}{number:020d}"),
            trace_id=trace_id,
            plan_id="",
            decision_id="",
            stage=Stage.RUNTIME_CONTROL,
            type=kind,
            occurred_at_ns=START_NS + number * 1_000_000,
            details={"number": number},
        )


def _plan_facts(intent: str, tools: Sequence[str]) -> dict[str, object]:
    return {"intent": intent, "steps": [{"id": f"s{at}", "tool": tool} for at, tool in enumerate(tools)]}


def _conclusion(outcome: Outcome, rules: Sequence[str]) -> Conclusion:
    effect = _EFFECTS[outcome]
    step = StepId("s1")
    return Conclusion(
        outcome=outcome,
        would_outcome=outcome,
        mode=PolicyMode.ENFORCE,
        findings=tuple(
            Finding(rule, "title", "message", effect, effect, Severity.HIGH, "", (), "remedy") for rule in rules
        ),
        steps=(StepDecision(step, outcome, "cap", "table", "agent-a#cap"),),
        obligations=(),
        sources=(),
        risk_score_milli=0,
        charges=(),
        approval=ApprovalDemand(1, (), 900, (step,)) if outcome is Outcome.REQUIRE_APPROVAL else None,
        approved_by="",
    )


async def require_readable(log: SqliteEventLog, acknowledged: list[tuple[str, Receipt]]) -> None:
    for decision_id, receipt in acknowledged:
        assert (await log.decision(decision_id)).receipt == receipt
    report = await log.verify()
    assert report.ok, report.problem
