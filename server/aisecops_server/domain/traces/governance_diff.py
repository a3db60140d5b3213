"""Planned, decided, granted, executed: where a trace's own records disagree.

The control plane raises incidents as things happen; this is the check afterwards, which trusts no incident and
recomputes each from the records. Ordering rule: a later stage is held against the one before it, never the other way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.decisions.decision import Outcome, Severity
from aisecops_server.domain.traces.execution_graph import RecordedDecision, RecordedEvent

_RAN = frozenset({"execution.executed", "execution.failed", "execution.observed", "execution.told_late"})
_ENDED = _RAN | {"execution.expired_unknown"}


class ViolationKind(StrEnum):
    """How two stages disagree."""

    BLOCKED_EXECUTION_OCCURRED = "blocked_execution_occurred"
    EXECUTION_WITHOUT_GRANT = "execution_without_grant"
    APPROVAL_EXECUTION_WITHOUT_ALLOWED_FINAL_STATE = "approval_execution_without_allowed_final_state"
    GRANT_WITHOUT_ALLOW = "grant_without_allow"
    TOOL_MISMATCH = "tool_mismatch"
    ARGUMENT_MISMATCH = "argument_mismatch"
    EXECUTED_TWICE = "executed_twice"
    RUNTIME_BUDGET_VIOLATION = "runtime_budget_violation"
    ALLOWED_BUT_NEVER_REPORTED = "allowed_but_never_reported"


SEVERITY = {
    ViolationKind.BLOCKED_EXECUTION_OCCURRED: Severity.CRITICAL,
    ViolationKind.EXECUTION_WITHOUT_GRANT: Severity.CRITICAL,
    ViolationKind.GRANT_WITHOUT_ALLOW: Severity.CRITICAL,
    ViolationKind.APPROVAL_EXECUTION_WITHOUT_ALLOWED_FINAL_STATE: Severity.HIGH,
    ViolationKind.TOOL_MISMATCH: Severity.HIGH,
    ViolationKind.ARGUMENT_MISMATCH: Severity.HIGH,
    ViolationKind.EXECUTED_TWICE: Severity.HIGH,
    ViolationKind.RUNTIME_BUDGET_VIOLATION: Severity.MEDIUM,
    ViolationKind.ALLOWED_BUT_NEVER_REPORTED: Severity.LOW,
}


class GovernanceResult(StrEnum):
    """What the whole trace comes to, the worst first."""

    VIOLATION = "violation"
    REVIEW = "review"
    BLOCKED = "blocked"
    MATCHED = "matched"
    OBSERVED = "observed"


@dataclass(frozen=True, slots=True)
class Violation:
    """One disagreement; ``event_ids`` are the records that show it."""

    kind: ViolationKind
    decision_id: str
    step_id: str
    expected: str
    actual: str
    event_ids: tuple[str, ...]

    @property
    def severity(self) -> Severity:
        """Return how bad it is."""
        return SEVERITY[self.kind]


@dataclass(frozen=True, slots=True)
class StepPath:
    """One step through the stages: what was planned, decided, granted, and what ran."""

    decision_id: str
    step_id: str
    tool: str
    outcome: str
    granted: bool
    executed: str


@dataclass(frozen=True, slots=True)
class GovernanceDiff:
    """The stages of a trace side by side, and where they disagree."""

    result: GovernanceResult
    steps: tuple[StepPath, ...]
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class _Grant:
    event_id: str
    decision_id: str
    step_id: str
    tool: str
    arguments: str


def governance_diff(decisions: Sequence[RecordedDecision], events: Sequence[RecordedEvent]) -> GovernanceDiff:
    """Return what the records of a trace say of each other; both in log order."""
    by_id = {str(decision.details["decision_id"]): decision for decision in decisions}
    grants = {name: grant for event in events for name, grant in _granted(event)}
    ran = [event for event in events if event.type in _RAN]
    violations = (
        *_of_grants(grants, by_id),
        *_of_executions(ran, grants, by_id),
        *_of_budgets(events),
        *_unreported(grants, events),
    )
    steps = tuple(path for decision in decisions if not decision.about_texts for path in _paths(decision, grants, ran))
    return GovernanceDiff(_result(decisions, violations, ran), steps, violations)


def _granted(event: RecordedEvent) -> Iterator[tuple[str, _Grant]]:
    if event.type == "grant.issued":
        for claims in event.details["grants"]:
            grant = _Grant(event.id, event.decision_id, claims["step_id"], claims["tool"], claims["arguments_sha256"])
            yield str(claims["jti"]), grant


def _of_grants(grants: Mapping[str, _Grant], decisions: Mapping[str, RecordedDecision]) -> Iterator[Violation]:
    for grant in grants.values():
        decision = decisions.get(grant.decision_id)
        outcome = str(decision.details["outcome"]) if decision else "no decision"
        if outcome != Outcome.ALLOW:
            yield _violation(ViolationKind.GRANT_WITHOUT_ALLOW, grant, Outcome.ALLOW, outcome, ids=[grant.event_id])


def _of_executions(
    ran: Sequence[RecordedEvent], grants: Mapping[str, _Grant], decisions: Mapping[str, RecordedDecision]
) -> Iterator[Violation]:
    finished: dict[str, str] = {}
    for event in ran:
        name = str(event.details.get("grant", ""))
        grant = grants.get(name)
        if grant is None:
            yield _ungranted(event, decisions.get(event.decision_id))
            continue
        ids = [grant.event_id, event.id]
        tool, arguments = str(event.details.get("tool", "")), str(event.details.get("arguments_sha256", ""))
        if tool != grant.tool:
            yield _violation(ViolationKind.TOOL_MISMATCH, grant, grant.tool, tool, ids=ids)
        if arguments != grant.arguments:
            yield _violation(ViolationKind.ARGUMENT_MISMATCH, grant, grant.arguments, arguments, ids=ids)
        if name in finished:
            yield _violation(
                ViolationKind.EXECUTED_TWICE, grant, "one execution", "two", ids=[finished[name], event.id]
            )
        finished[name] = event.id


def _ungranted(event: RecordedEvent, decision: RecordedDecision | None) -> Violation:
    outcome = str(decision.details["outcome"]) if decision else ""
    kind = {
        Outcome.DENY: ViolationKind.BLOCKED_EXECUTION_OCCURRED,
        Outcome.REQUIRE_APPROVAL: ViolationKind.APPROVAL_EXECUTION_WITHOUT_ALLOWED_FINAL_STATE,
    }.get(Outcome(outcome) if outcome else Outcome.ALLOW, ViolationKind.EXECUTION_WITHOUT_GRANT)
    return Violation(
        kind,
        decision_id=event.decision_id,
        step_id=str(event.details.get("step", "")),
        expected="no execution" if outcome in {Outcome.DENY, Outcome.REQUIRE_APPROVAL} else "a grant",
        actual=str(event.details.get("tool", "")),
        event_ids=(*((decision.event_id,) if decision else ()), event.id),
    )


def _of_budgets(events: Iterable[RecordedEvent]) -> Iterator[Violation]:
    for event in events:
        if event.type == "budget.overrun":
            facts = event.details
            yield Violation(
                ViolationKind.RUNTIME_BUDGET_VIOLATION,
                decision_id=event.decision_id,
                step_id=str(facts.get("step", "")),
                expected=f"at most {facts.get('reserved', 0)}",
                actual=str(facts.get("actual", "")),
                event_ids=(event.id,),
            )


def _unreported(grants: Mapping[str, _Grant], events: Sequence[RecordedEvent]) -> Iterator[Violation]:
    reported = {str(event.details.get("grant", "")) for event in events if event.type in _RAN}
    closed = {str(event.details.get("grant", "")) for event in events if event.type in _ENDED}
    for name, grant in grants.items():
        # One that is still open may yet be reported.
        if name in closed and name not in reported:
            yield _violation(
                ViolationKind.ALLOWED_BUT_NEVER_REPORTED, grant, "a report", "none in time", ids=[grant.event_id]
            )


def _violation(kind: ViolationKind, grant: _Grant, expected: str, actual: str, *, ids: Sequence[str]) -> Violation:
    return Violation(kind, grant.decision_id, grant.step_id, expected=expected, actual=actual, event_ids=tuple(ids))


def _paths(
    decision: RecordedDecision, grants: Mapping[str, _Grant], ran: Sequence[RecordedEvent]
) -> Iterator[StepPath]:
    decision_id = str(decision.details["decision_id"])
    tools = {step["id"]: step["tool"] for step in decision.document["plan"]["steps"]}
    own = {grant.step_id: name for name, grant in grants.items() if grant.decision_id == decision_id}
    for step in decision.details["steps"]:
        name = own.get(step["id"], "")
        outcomes = [event.type.partition(".")[2] for event in ran if name and event.details.get("grant") == name]
        yield StepPath(
            decision_id,
            step_id=step["id"],
            tool=str(tools.get(step["id"], "")),
            outcome=str(step["outcome"]),
            granted=bool(name),
            executed=outcomes[-1] if outcomes else "not_performed",
        )


def _result(
    decisions: Sequence[RecordedDecision], violations: Sequence[Violation], ran: Sequence[RecordedEvent]
) -> GovernanceResult:
    serious = [violation for violation in violations if violation.severity is not Severity.LOW]
    outcomes = {str(decision.details["outcome"]) for decision in decisions}
    if serious:
        return GovernanceResult.VIOLATION
    if violations or Outcome.REQUIRE_APPROVAL in outcomes:
        return GovernanceResult.REVIEW
    if Outcome.DENY in outcomes:
        return GovernanceResult.BLOCKED
    return GovernanceResult.MATCHED if ran else GovernanceResult.OBSERVED
