"""No clock makes a policy younger, whatever it does and whenever the process is restarted."""

from __future__ import annotations

from aisecops_server.domain.edges.policy_age import STEP_NS, Instant, Reckoning
from hypothesis import given
from hypothesis import strategies as st

SECOND = 1_000_000_000
START = Reckoning(Instant(1_000 * SECOND, 0))


def at(wall_seconds: float, ran_seconds: float) -> Instant:
    """Return both clocks, this far from the start."""
    return Instant(int((1_000 + wall_seconds) * SECOND), int(ran_seconds * SECOND))


def test_while_both_clocks_go_on_the_age_is_what_went_by() -> None:
    found = START.until(at(10, 10)).until(at(25, 25))
    assert (found.counted_ns, found.sound) == (25 * SECOND, True)


def test_a_clock_that_is_set_back_makes_nothing_younger_and_is_not_believed_again() -> None:
    back = START.until(at(100, 100)).until(at(-3600, 110))
    assert (back.counted_ns, back.sound) == (110 * SECOND, False)
    assert not back.until(at(200, 200)).sound


def test_a_clock_that_stands_still_makes_nothing_younger() -> None:
    found = START
    for second in range(1, 61):
        found = found.until(at(0, second))
    assert found.counted_ns == 60 * SECOND


def test_a_clock_that_is_set_forward_makes_it_older_at_once() -> None:
    assert START.until(at(7200, 1)).counted_ns == 7200 * SECOND


def test_a_clock_that_is_corrected_by_a_little_is_believed() -> None:
    assert START.until(at(100, 100)).until(at(97, 101)).sound


def test_over_a_restart_what_was_counted_stays_and_the_time_between_is_added() -> None:
    before = START.until(at(100, 100))
    after = before.after_restart(latest_wall_ns=0).until(at(400, 3))
    assert (after.counted_ns, after.sound) == (400 * SECOND, True)


def test_a_clock_that_was_set_back_while_nothing_ran_is_seen_against_what_is_on_the_disk() -> None:
    before = START.until(at(100, 100))
    assert not before.after_restart(latest_wall_ns=0).until(at(50, 0)).sound
    newest_entry = at(180, 0).wall_ns
    later = before.after_restart(latest_wall_ns=newest_entry)
    assert later.counted_ns == 180 * SECOND
    assert not later.until(at(120, 0)).sound


@given(st.lists(st.tuples(st.integers(-10_000, 10_000), st.integers(0, 1_000), st.booleans()), min_size=1, max_size=30))
def test_the_age_is_never_less_than_the_time_that_ran(moves: list[tuple[int, int, bool]]) -> None:
    found, wall, ran, total = START, 0.0, 0, 0
    for jump, seconds, restarts in moves:
        if restarts:
            # The new process counts from zero.
            found, ran = found.after_restart(latest_wall_ns=0).until(at(wall, 0)), 0
        wall, ran, total = wall + jump, ran + seconds, total + seconds
        moved = found.until(at(wall, ran))
        assert moved.counted_ns >= found.counted_ns
        assert moved.sound is (found.sound and (seconds - jump) * SECOND <= STEP_NS)
        found = moved
    assert found.counted_ns >= total * SECOND
