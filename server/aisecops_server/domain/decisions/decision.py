"""What the engine said and what it means: findings, verdicts, decisions, and the one step between them.

``conclude`` is the only place where an engine's answer becomes an outcome. It denies by raising: anything
that is not exactly a decision raises ``NoDecisionError``, and nobody downstream can turn that into an allow.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, TypeVar

from aisecops_server.domain.budgets.budget import Metric, Subject, Window
from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Principal
from aisecops_server.domain.errors import NoDecisionError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, JsonValue
from aisecops_server.domain.plans.plan import PlanId, SessionId, StepId, TraceId
from aisecops_server.domain.plans.provenance import TrustLevel

DecisionId = NewType("DecisionId", str)
E = TypeVar("E", bound=StrEnum)


class Outcome(StrEnum):
    """The answer to "may this run?"."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    REQUIRE_APPROVAL = "REQUIRE_APPROVAL"


class Mode(StrEnum):
    """What an outcome is used for."""

    ENFORCE = "ENFORCE"
    DRY_RUN = "DRY_RUN"
    SHADOW = "SHADOW"


class Effect(StrEnum):
    """What one finding asks for."""

    DENY = "deny"
    REQUIRE_APPROVAL = "require_approval"
    WARN = "warn"


class PolicyMode(StrEnum):
    """What policy makes of its own findings about an agent: the third value of a rollout, beside nothing and all."""

    ENFORCE = "enforce"
    OBSERVE = "observe"
    DRY_RUN = "dry_run"


class Severity(StrEnum):
    """How bad it would be to ignore a finding."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Fact:
    """A part of the input document that a rule read: an RFC 6901 pointer and the value there."""

    pointer: str
    value: JsonValue


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's contribution to a decision. ``step_id`` is empty when it concerns the whole plan.

    ``would_effect`` is what it asks for where it is enforced; it differs from ``effect`` where policy only observes.
    """

    rule: str
    title: str
    message: str
    effect: Effect
    would_effect: Effect
    severity: Severity
    step_id: str
    facts: tuple[Fact, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class StepDecision:
    """The outcome of one step and the capability and grant that cover it (empty when none does)."""

    step_id: StepId
    outcome: Outcome
    capability: str
    granted_by: str
    grant: str


@dataclass(frozen=True, slots=True)
class SourceTrust:
    """How far policy trusted one source."""

    source_id: str
    trust: TrustLevel


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something the enforcement point must also do."""

    kind: str
    step_id: str
    parameters: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Charge:
    """What the plan takes from one limit. One that is not ``enforced`` is counted and refuses nothing.

    ``amount`` is all of it: what was ``spent`` before the plan was asked about, and what each of ``steps`` is expected
    to take.
    """

    subject: str
    id: str
    metric: str
    window: str
    amount: int
    spent: int
    steps: Mapping[StepId, int]
    limit: int
    enforced: bool


@dataclass(frozen=True, slots=True)
class ApprovalDemand:
    """What an approval of the plan takes: how many people, of which groups (none: anybody), for how long it lasts."""

    approvers_required: int
    groups: tuple[str, ...]
    expires_seconds: int
    step_ids: tuple[StepId, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The engine's raw answer with the revision and version that gave it, all from the same reply."""

    result: JsonValue
    revision: str
    engine_version: str
    evaluation_ns: int


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a verdict means.

    ``would_outcome`` is the outcome where everything is enforced. ``approval`` is there exactly when the outcome asks
    for one; ``approved_by`` names the approval that lifted such a demand.
    """

    outcome: Outcome
    would_outcome: Outcome
    mode: PolicyMode
    findings: tuple[Finding, ...]
    steps: tuple[StepDecision, ...]
    obligations: tuple[Obligation, ...]
    sources: tuple[SourceTrust, ...]
    risk_score_milli: int
    charges: tuple[Charge, ...]
    approval: ApprovalDemand | None
    approved_by: str

    @property
    def lowest_trust(self) -> TrustLevel:
        """Return the trust of the least trusted source; naming none is as good as one that nobody verified."""
        return max(
            (source.trust for source in self.sources), key=lambda level: level.rank, default=TrustLevel.UNVERIFIED
        )

    def mode_of(self, asked: Mode) -> Mode:
        """Return what the outcome may be used for: where policy only tries an agent, nothing is decided for real."""
        return Mode.DRY_RUN if asked is Mode.ENFORCE and self.mode is PolicyMode.DRY_RUN else asked


@dataclass(frozen=True, slots=True)
class Decision:
    """A concluded answer with everything that made it."""

    id: DecisionId
    trace_id: TraceId
    plan_id: PlanId
    session_id: SessionId
    mode: Mode
    conclusion: Conclusion
    principal: Principal
    bundle_revision: str
    bundle_digest: str
    engine_version: str
    document_digest: str
    plan_hash: str
    decided_at_ns: int
    evaluation_ns: int
    tenant: str = DEFAULT_TENANT

    @property
    def outcome(self) -> Outcome:
        """Return the concluded outcome."""
        return self.conclusion.outcome


# A plan can be made to break one rule a thousand times over; reading all of that would hold up everybody else.
MOST_FINDINGS = 512
# The longest that an approval may last.
MOST_APPROVAL_SECONDS = 900
METRICS = frozenset(metric.value for metric in Metric)
SUBJECTS = frozenset(subject.value for subject in Subject)
WINDOWS = frozenset(window.value for window in Window)
# What denies in every mode: to observe somebody, policy must know who it is and what is asked.
_NEVER_OBSERVED = frozenset({"plan.malformed", "identity.agent_unregistered"})
_RESTRICTION = {Outcome.ALLOW: 0, Outcome.REQUIRE_APPROVAL: 1, Outcome.DENY: 2}


def most_restrictive(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the most restrictive of ``outcomes``.

    Raises:
        ValueError: there are none; an empty plan is not an allowed plan.
    """
    return max(outcomes, key=_RESTRICTION.__getitem__)


def conclude(verdict: Verdict, *, step_ids: Sequence[StepId], expected_revision: str) -> Conclusion:
    """Turn an engine's answer into a conclusion, or refuse to.

    The outcome is recomputed from the findings and must equal the one that the policy gave, step by step and
    over all, so that neither side alone can allow.

    Raises:
        NoDecisionError: the answer is undefined, of the wrong shape, from another revision, about other
            steps, or its outcome disagrees with its findings.
    """
    if verdict.revision != expected_revision:
        raise _not_a_decision("revision", f"revision {verdict.revision or 'none'} answered for {expected_revision}")
    result = _mapping(verdict.result, "result")
    found = _sequence(result.get("findings"), "findings")
    if len(found) > MOST_FINDINGS:
        raise _not_a_decision("findings", f"{len(found)} findings, at most {MOST_FINDINGS} can be told")
    findings = tuple(_finding(item) for item in found)
    steps = tuple(_step(item) for item in _sequence(result.get("steps"), "steps"))
    if [step.step_id for step in steps] != list(step_ids):
        raise _not_a_decision("steps", "the answer is about other steps than the plan")
    conclusion = Conclusion(
        outcome=_enum(Outcome, result.get("outcome"), "outcome"),
        would_outcome=_enum(Outcome, result.get("would_outcome"), "would_outcome"),
        mode=_enum(PolicyMode, result.get("mode"), "mode"),
        findings=findings,
        steps=steps,
        obligations=tuple(_obligation(item) for item in _sequence(result.get("obligations"), "obligations")),
        sources=tuple(_trust(item) for item in _sequence(result.get("sources"), "sources")),
        risk_score_milli=_integer(result.get("risk_score_milli"), "risk_score_milli"),
        charges=tuple(_charge(item) for item in _sequence(result.get("charges"), "charges")),
        approval=_approval(result),
        approved_by=_text(result.get("approved_by"), "approved_by"),
    )
    _require_agreement(conclusion)
    _require_modes(conclusion)
    _require_controls(conclusion)
    return conclusion


def _outcome_of(effects: Sequence[Effect]) -> Outcome:
    """Return what findings that ask for ``effects`` come to."""
    if Effect.DENY in effects:
        return Outcome.DENY
    return Outcome.REQUIRE_APPROVAL if Effect.REQUIRE_APPROVAL in effects else Outcome.ALLOW


def _require_agreement(conclusion: Conclusion) -> None:
    if conclusion.outcome is not _outcome_of([finding.effect for finding in conclusion.findings]):
        raise _not_a_decision("outcome", "the outcome disagrees with the findings")
    if len({source.source_id for source in conclusion.sources}) != len(conclusion.sources):
        raise _not_a_decision("shape", "it settles the trust of a source twice")
    if not conclusion.steps:
        raise _not_a_decision("steps", "the answer decides no step")
    for step in conclusion.steps:
        own = [finding.effect for finding in conclusion.findings if finding.step_id in ("", step.step_id)]
        if step.outcome is not _outcome_of(own):
            raise _not_a_decision("steps", f"the outcome of step {step.step_id} disagrees with its findings")


def _require_modes(conclusion: Conclusion) -> None:
    if conclusion.would_outcome is not _outcome_of([finding.would_effect for finding in conclusion.findings]):
        raise _not_a_decision("modes", "the outcome without modes disagrees with the findings")
    for finding in conclusion.findings:
        if finding.effect is finding.would_effect:
            continue
        if finding.effect is not Effect.WARN or finding.rule in _NEVER_OBSERVED:
            raise _not_a_decision("modes", f"{finding.rule} counts as {finding.effect} where it would not")


def _require_controls(conclusion: Conclusion) -> None:
    if (conclusion.approval is not None) != (conclusion.outcome is Outcome.REQUIRE_APPROVAL):
        raise _not_a_decision("approval", "what an approval takes is told exactly when one is required")
    steps = {step.step_id for step in conclusion.steps}
    if conclusion.approval is not None and not steps.issuperset(conclusion.approval.step_ids):
        raise _not_a_decision("approval", "an approval is asked for steps that the plan does not have")
    limits = [(charge.subject, charge.id, charge.metric, charge.window) for charge in conclusion.charges]
    if len(set(limits)) != len(limits):
        raise _not_a_decision("charges", "a limit is charged twice")
    for charge in conclusion.charges:
        if charge.amount != charge.spent + sum(charge.steps.values()) or not charge.steps.keys() <= steps:
            raise _not_a_decision("charges", "an amount is not what was spent and what its steps take")


def _finding(item: JsonValue) -> Finding:
    fields = _mapping(item, "finding")
    return Finding(
        rule=_text(fields.get("rule"), "finding.rule"),
        title=_text(fields.get("title"), "finding.title"),
        message=_text(fields.get("message"), "finding.message"),
        effect=_enum(Effect, fields.get("effect"), "finding.effect"),
        would_effect=_enum(Effect, fields.get("would_effect"), "finding.would_effect"),
        severity=_enum(Severity, fields.get("severity"), "finding.severity"),
        step_id=_text(fields.get("step"), "finding.step"),
        facts=tuple(_fact(fact) for fact in _sequence(fields.get("facts"), "finding.facts")),
        remedy=_text(fields.get("remedy"), "finding.remedy"),
    )


def _fact(item: JsonValue) -> Fact:
    fields = _mapping(item, "fact")
    if "value" not in fields:
        raise _not_a_decision("shape", "a fact has no value")
    return Fact(pointer=_text(fields.get("pointer"), "fact.pointer"), value=fields["value"])


def _step(item: JsonValue) -> StepDecision:
    fields = _mapping(item, "step")
    return StepDecision(
        step_id=StepId(_text(fields.get("id"), "step.id")),
        outcome=_enum(Outcome, fields.get("outcome"), "step.outcome"),
        capability=_text(fields.get("capability"), "step.capability"),
        granted_by=_text(fields.get("granted_by"), "step.granted_by"),
        grant=_text(fields.get("grant"), "step.grant"),
    )


def _obligation(item: JsonValue) -> Obligation:
    fields = _mapping(item, "obligation")
    return Obligation(
        kind=_text(fields.get("kind"), "obligation.kind"),
        step_id=_text(fields.get("step"), "obligation.step"),
        parameters=_mapping(fields.get("parameters"), "obligation.parameters"),
    )


def _trust(item: JsonValue) -> SourceTrust:
    fields = _mapping(item, "source")
    return SourceTrust(
        source_id=_text(fields.get("id"), "source.id"),
        trust=_enum(TrustLevel, fields.get("trust"), "source.trust"),
    )


def _charge(item: JsonValue) -> Charge:
    fields = _mapping(item, "charge")
    enforced = fields.get("enforced")
    if not isinstance(enforced, bool):
        raise _not_a_decision("shape", "charge.enforced is not a boolean")
    steps = _mapping(fields.get("steps"), "charge.steps")
    return Charge(
        subject=_word(fields.get("subject"), "charge.subject", SUBJECTS),
        id=_text(fields.get("id"), "charge.id"),
        metric=_word(fields.get("metric"), "charge.metric", METRICS),
        window=_word(fields.get("window"), "charge.window", WINDOWS),
        amount=_within(fields.get("amount"), "charge.amount", least=0),
        spent=_within(fields.get("spent"), "charge.spent", least=0),
        steps={StepId(step): _within(amount, "charge.steps", least=0) for step, amount in steps.items()},
        limit=_within(fields.get("limit"), "charge.limit", least=0),
        enforced=enforced,
    )


def _approval(result: Mapping[str, JsonValue]) -> ApprovalDemand | None:
    if "approval" not in result:
        raise _not_a_decision("shape", "approval is missing")
    if result["approval"] is None:
        return None
    fields = _mapping(result["approval"], "approval")
    seconds = fields.get("expires_seconds")
    return ApprovalDemand(
        approvers_required=_within(fields.get("approvers_required"), "approval.approvers_required", least=1),
        groups=tuple(_text(item, "approval.groups") for item in _sequence(fields.get("groups"), "approval.groups")),
        expires_seconds=_within(seconds, "approval.expires_seconds", least=1, most=MOST_APPROVAL_SECONDS),
        step_ids=tuple(
            StepId(_text(item, "approval.steps")) for item in _sequence(fields.get("steps"), "approval.steps")
        ),
    )


def _mapping(value: JsonValue, where: str) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        raise _not_a_decision("shape", f"{where} is not an object")
    return value


def _sequence(value: JsonValue, where: str) -> Sequence[JsonValue]:
    if not isinstance(value, list):
        raise _not_a_decision("shape", f"{where} is not an array")
    return value


def _text(value: JsonValue, where: str) -> str:
    if not isinstance(value, str):
        raise _not_a_decision("shape", f"{where} is not a string")
    return value


def _integer(value: JsonValue, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _not_a_decision("shape", f"{where} is not an integer")
    return value


def _within(value: JsonValue, where: str, *, least: int, most: int = SAFE_INTEGER) -> int:
    number = _integer(value, where)
    if not least <= number <= most:
        raise _not_a_decision("shape", f"{where} is not between {least} and {most}")
    return number


def _word(value: JsonValue, where: str, words: frozenset[str]) -> str:
    word = _text(value, where)
    if word not in words:
        raise _not_a_decision("shape", f"{where} is not one of {', '.join(sorted(words))}")
    return word


def _enum(kind: type[E], value: JsonValue, where: str) -> E:
    member: E | None = _members(kind).get(_text(value, where))
    if member is None:
        raise _not_a_decision("shape", f"{where} is not one of {', '.join(kind)}")
    return member


@functools.cache
def _members(kind: type[E]) -> Mapping[str, E]:
    """Return the members of an enumeration by their values, which is how they are found fastest."""
    return {member.value: member for member in kind}


def _not_a_decision(why: str, message: str) -> NoDecisionError:
    return NoDecisionError(
        f"the engine's answer is not a decision: {message}",
        hint="Nothing was allowed. Check the live revision with 'aisecops bundle list'",
        why=why,
    )
