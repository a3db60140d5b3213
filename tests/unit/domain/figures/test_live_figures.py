"""What the latest decisions add up to: over the seconds that were really read, and no more than is kept."""

from __future__ import annotations

import pytest
from aisecops_server.domain.figures.live_figures import MOST_DECISIONS, LiveWindow
from hypothesis import given
from hypothesis import strategies as st

SECOND = 1_000_000_000
CONCLUDED = "decision.concluded"


def concluded(outcome: str, *, engine_ns: int = 0, denies: tuple[str, ...] = ()) -> dict[str, object]:
    findings = [{"rule": rule, "effect": "deny"} for rule in denies]
    return {"outcome": outcome, "evaluation_ns": engine_ns, "findings": [*findings, {"rule": "w", "effect": "warn"}]}


def test_outcomes_refusals_and_what_blocked_are_counted_over_the_window() -> None:
    window = LiveWindow(10)
    window.add(CONCLUDED, 1 * SECOND, concluded("ALLOW"))
    window.add("plan.received", 95 * SECOND, {"outcome": "DENY"})
    window.add(CONCLUDED, 95 * SECOND, concluded("DENY", denies=("b", "a", "a")))
    window.add(CONCLUDED, 96 * SECOND, concluded("DENY", denies=("b",)))
    window.add("decision.refused", 97 * SECOND, {"reason": "ENGINE_UNAVAILABLE", "outcome": "DENY"})
    found = window.figures(100 * SECOND)
    assert found.outcomes == {"DENY": 2, "REFUSED": 1}
    assert found.blocked == [("b", 2), ("ENGINE_UNAVAILABLE", 1), ("a", 1)]
    assert (found.seconds, found.per_second) == (10, pytest.approx(0.3))


def test_nothing_was_decided() -> None:
    found = LiveWindow(10).figures(100 * SECOND)
    assert (found.per_second, found.half_ns, found.most_ns, found.outcomes) == (0, 0, 0, {})


def test_what_was_not_read_is_not_taken_for_quiet_seconds() -> None:
    window = LiveWindow(60)
    window.add(CONCLUDED, 50 * SECOND, concluded("ALLOW"))
    window.begin(98 * SECOND)
    for _ in range(20):
        window.add(CONCLUDED, 99 * SECOND, concluded("ALLOW"))
    found = window.figures(100 * SECOND)
    assert (found.seconds, found.per_second) == (2, 10)


def test_a_clock_that_is_behind_makes_no_figure_of_the_future() -> None:
    window = LiveWindow(10)
    window.add(CONCLUDED, 100 * SECOND, concluded("ALLOW"))
    assert window.figures(5).outcomes == {"ALLOW": 1}


def test_what_is_kept_is_bounded_and_the_seconds_shrink_with_it() -> None:
    window = LiveWindow(3600)
    for at in range(MOST_DECISIONS + 1000):
        window.add(CONCLUDED, at * SECOND // 100, concluded("ALLOW"))
    found = window.figures((MOST_DECISIONS + 1000) * SECOND // 100)
    assert sum(found.outcomes.values()) <= MOST_DECISIONS
    assert found.per_second == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("details", [{}, {"outcome": "DENY"}, {"outcome": "DENY", "findings": ["x", 1]}])
def test_records_of_other_versions_are_counted_as_far_as_they_go(details: dict[str, object]) -> None:
    window = LiveWindow(10)
    window.add(CONCLUDED, SECOND, details)
    assert sum(window.figures(SECOND).outcomes.values()) == 1


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300))
def test_half_and_most_are_times_that_were_taken(times: list[int]) -> None:
    window = LiveWindow(10)
    for time in times:
        window.add(CONCLUDED, SECOND, concluded("ALLOW", engine_ns=time))
    found = window.figures(SECOND)
    assert {found.half_ns, found.most_ns} <= set(times)
    assert sum(time <= found.half_ns for time in times) * 2 >= len(times)
    assert sum(time <= found.most_ns for time in times) >= 0.99 * len(times)
    assert sum(time < found.half_ns for time in times) * 2 < len(times) or found.half_ns == min(times)
