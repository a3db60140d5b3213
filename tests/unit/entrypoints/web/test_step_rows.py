"""The rows of a trace: when each step was decided, and where nothing happened for long."""

from __future__ import annotations

import pytest
from aisecops.v1 import decision_pb2
from aisecops.v1.audit_service_pb2 import GetTraceResponse
from aisecops_server.domain.display.words import ALLOWED, Sign
from aisecops_server.entrypoints.web.loops import folded
from aisecops_server.entrypoints.web.strips import FAILED, STAGES, duration, step_rows


def _trace(*seconds: float) -> GetTraceResponse:
    trace = GetTraceResponse()
    for number, at in enumerate(seconds):
        decision = trace.decisions.add(decision_id=f"dec-{number}", outcome=decision_pb2.OUTCOME_ALLOW)
        decision.steps.add(step_id=f"s{number}", outcome=decision_pb2.OUTCOME_ALLOW)
        decision.decided_at.FromNanoseconds(int(at * 1e9))
    return trace


def test_a_row_says_when_it_was_and_for_how_long_nothing_happened_before_it() -> None:
    rows = step_rows(_trace(100, 100.25, 160, 7_600))
    assert [row.when for row in rows] == ["+0.0 s", "+0.2 s", "+1 min 00 s", "idle 2 h 04 min · +2 h 05 min"]
    assert step_rows(_trace()) == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h 00 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (90_000_000, "1,041 d 16 h"),
        # Clocks of two machines may differ.
        (-3, "0.0 s"),
    ],
)
def test_a_duration_is_said_in_two_units_at_most(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("outcome", "drawn"), [("executed", ALLOWED), ("failed", FAILED)])
def test_a_call_that_is_told_late_is_drawn_as_what_came_of_it(outcome: str, drawn: Sign) -> None:
    trace = _trace(100)
    for kind, details in (("expired_unknown", ""), ("told_late", f', "outcome": "{outcome}"')):
        told = f'{{"details": {{"step": "s0"{details}}}}}'.encode()
        trace.events.add(type=f"execution.{kind}", decision_id="dec-0", body_json=told)
    [row] = step_rows(trace)
    assert row.cells[list(STAGES).index("execution")] is drawn


def _plans(*looks: str, apart: float = 1.0) -> GetTraceResponse:
    """Return a trace with a plan for each of ``looks``: a letter a step, large where it is denied."""
    trace = GetTraceResponse()
    for number, look in enumerate(looks):
        decision = trace.decisions.add(decision_id=f"dec-{number}")
        decision.decided_at.FromNanoseconds(int((100 + number * apart) * 1e9))
        for letter in look:
            outcome = decision_pb2.OUTCOME_DENY if letter.isupper() else decision_pb2.OUTCOME_ALLOW
            decision.steps.add(step_id=letter.lower(), outcome=outcome)
    return trace


@pytest.mark.parametrize(
    ("plans", "shown"),
    [
        (["a"] * 41, [("a", 0, 41)]),
        (["a", "a"], [("a", 0, 1), ("a", 1, 1)]),
        (["a", "a", "a", "b", "a"], [("a", 0, 3), ("b", 3, 1), ("a", 4, 1)]),
        # A step that was denied among the same that were not stands for itself.
        (["a", "a", "a", "A", "a", "a", "a"], [("a", 0, 3), ("a", 3, 1), ("a", 4, 3)]),
        (["ab", "ab", "ab"], [("a", 0, 3), ("b", 1, 3)]),
        # The same steps, divided otherwise into plans, are no loop.
        (["ab", "a", "b", "ab"], [("a", 0, 1), ("b", 1, 1), ("a", 2, 1), ("b", 3, 1), ("a", 4, 1), ("b", 5, 1)]),
        ([], []),
    ],
)
def test_plans_in_a_row_that_are_alike_are_shown_once(plans: list[str], shown: list[tuple[str, int, int]]) -> None:
    assert [(row.step_id, row.at, row.times) for row in folded(step_rows(_plans(*plans)))] == shown


def test_a_pause_in_a_loop_is_not_folded_away() -> None:
    rows = step_rows(_plans(*"aaaaaa", apart=70))
    assert folded(rows) == rows
    assert [row.times for row in folded(step_rows(_plans(*"aaaaaa", apart=59)))] == [6]
