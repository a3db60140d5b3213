"""Forged histories: each way in which what ran differs from what was allowed is found, whatever the incidents say."""

from __future__ import annotations

import pytest
from aisecops_server.domain.traces.execution_graph import RecordedDecision, RecordedEvent
from aisecops_server.domain.traces.governance_diff import SEVERITY, ViolationKind, governance_diff

from tests.unit.domain.traces.test_execution_graph import TRACE, decision, granted


def ran(grant: str = "grt-1", type: str = "execution.executed", **details: object) -> RecordedEvent:
    facts = {"grant": grant, "step": "s1", "tool": "mail/send", "arguments_sha256": "args", **details}
    return RecordedEvent(f"evt-{type}-{grant}", type, TRACE, "dec-1", facts)


def found(decisions: list[RecordedDecision], events: list[RecordedEvent]) -> tuple[str, list[str]]:
    diff = governance_diff(decisions, events)
    return str(diff.result), [str(violation.kind) for violation in diff.violations]


def test_a_call_that_ran_as_granted_matches() -> None:
    diff = governance_diff([decision()], [granted(), ran()])
    assert (diff.result, diff.violations) == ("matched", ())
    [path] = diff.steps
    assert (path.tool, path.outcome, path.granted, path.executed) == ("mail/send", "ALLOW", True, "executed")


@pytest.mark.parametrize(
    ("decisions", "events", "result", "violations"),
    [
        ([decision()], [granted()], "observed", []),
        ([decision(outcome="DENY")], [], "blocked", []),
        ([decision(outcome="REQUIRE_APPROVAL")], [], "review", []),
        ([decision(outcome="DENY")], [ran("")], "violation", ["blocked_execution_occurred"]),
        (
            [decision(outcome="REQUIRE_APPROVAL")],
            [ran("")],
            "violation",
            ["approval_execution_without_allowed_final_state"],
        ),
        ([decision()], [ran("")], "violation", ["execution_without_grant"]),
        ([], [ran("grt-9")], "violation", ["execution_without_grant"]),
        ([decision(outcome="DENY")], [granted(), ran()], "violation", ["grant_without_allow"]),
        ([], [granted(), ran()], "violation", ["grant_without_allow"]),
        ([decision()], [granted(), ran(tool="mail/delete")], "violation", ["tool_mismatch"]),
        ([decision()], [granted(), ran(arguments_sha256="other")], "violation", ["argument_mismatch"]),
        ([decision()], [granted(), ran(), ran(type="execution.failed")], "violation", ["executed_twice"]),
        ([decision()], [granted(), ran(type="execution.expired_unknown")], "review", ["allowed_but_never_reported"]),
        (
            [decision()],
            [granted(), ran(), RecordedEvent("evt-b", "budget.overrun", TRACE, "dec-1", {"reserved": 5, "actual": 9})],
            "violation",
            ["runtime_budget_violation"],
        ),
    ],
)
def test_each_forged_history_is_found_out(
    decisions: list[RecordedDecision], events: list[RecordedEvent], result: str, violations: list[str]
) -> None:
    assert found(decisions, events) == (result, violations)


def test_an_incident_that_is_missing_hides_nothing_and_one_that_is_there_adds_nothing() -> None:
    incident = RecordedEvent("evt-i", "incident.other_tool", TRACE, "dec-1", {"grant": "grt-1"})
    assert found([decision()], [granted(), ran(), incident]) == ("matched", [])


def test_a_violation_names_the_records_that_show_it() -> None:
    [violation] = governance_diff([decision()], [granted(), ran(tool="mail/delete")]).violations
    assert violation.event_ids == ("evt-grt-1", "evt-execution.executed-grt-1")
    assert (violation.expected, violation.actual, violation.severity) == ("mail/send", "mail/delete", "high")


def test_every_kind_has_a_severity() -> None:
    assert set(SEVERITY) == set(ViolationKind)
