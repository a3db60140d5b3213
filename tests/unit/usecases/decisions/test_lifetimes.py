"""What was given is judged by the time that has passed, whatever the wall clock says."""

from __future__ import annotations

from aisecops_server.usecases.decisions.lifetimes import Lifetimes
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.clock import START_NS, FakeClock

_SECOND = 1_000_000_000


def begin(lifetimes: Lifetimes, thing: str, seconds: int) -> None:
    lifetimes.begin(thing, given_at_ns=START_NS, ends_at_ns=START_NS + seconds * _SECOND)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-100, 100)), max_size=20))
def test_no_jump_makes_anything_younger_than_it_is(moves: list[tuple[int, int]]) -> None:
    clock = FakeClock()
    lifetimes = Lifetimes(clock)
    begin(lifetimes, "grant", 10_000)
    for passed, jump in moves:
        clock.advance(passed)
        clock.set_back(jump)
        assert lifetimes.now_ns("grant", given_at_ns=START_NS) >= clock.now_ns()
    passed_ns = sum(passed for passed, _ in moves) * _SECOND
    assert lifetimes.now_ns("grant", given_at_ns=START_NS) == max(clock.now_ns(), START_NS + passed_ns)


def test_what_was_given_before_is_judged_by_the_latest_time_that_was_seen() -> None:
    clock = FakeClock()
    lifetimes = Lifetimes(clock)
    assert lifetimes.now_ns("of an earlier process", given_at_ns=0) == START_NS
    clock.set_back(50)
    assert lifetimes.now_ns("of an earlier process", given_at_ns=0) == START_NS


def test_beginning_twice_is_beginning_once_and_only_so_many_are_remembered() -> None:
    clock = FakeClock()
    lifetimes = Lifetimes(clock, most=2)
    begin(lifetimes, "a", 60)
    clock.advance(5)
    begin(lifetimes, "a", 60)
    clock.set_back(5)
    assert lifetimes.now_ns("a", given_at_ns=START_NS) == START_NS + 5 * _SECOND
    for other in ("b", "c"):
        begin(lifetimes, other, 90)
    clock.set_back(5)
    assert lifetimes.now_ns("a", given_at_ns=START_NS) == START_NS


def test_what_has_ended_is_forgotten_and_stays_ended_on_a_clock_that_was_set_back() -> None:
    clock = FakeClock()
    lifetimes = Lifetimes(clock)
    begin(lifetimes, "long", 3600)
    for number in range(1000):
        begin(lifetimes, f"grant {number}", 30)
    clock.set_back(100)
    clock.advance(31)
    begin(lifetimes, "next", 30)
    assert set(lifetimes._given) == {"long", "next"}
    assert len(lifetimes._ends) == 2
    # It ended at 30 seconds, and the wall clock, which says that they are still to come, does not open it again.
    assert clock.now_ns() < START_NS
    assert lifetimes.now_ns("grant 7", given_at_ns=START_NS) == START_NS + 30 * _SECOND
    assert lifetimes.now_ns("long", given_at_ns=START_NS) == START_NS + 31 * _SECOND
