"""Periods of budgets, and what one counter does."""

from __future__ import annotations

import calendar
import dataclasses
import time
from datetime import UTC, datetime

import pytest
from aisecops_server.domain.budgets.budget import Budget, BudgetState, Counter, Metric, Subject, Window
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER
from hypothesis import given
from hypothesis import strategies as st

MOMENTS = st.integers(0, 253_000_000_000)
LASTING = st.sampled_from([window for window in Window if window is not Window.SESSION])
AGENT = "spiffe://corp.example/agent/a"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("window", "moment", "started_at", "resets_at"),
    [
        (Window.MINUTE, "2027-01-15T08:00:59", "2027-01-15T08:00:00", "2027-01-15T08:01:00"),
        (Window.HOUR, "2027-01-15T08:59:59", "2027-01-15T08:00:00", "2027-01-15T09:00:00"),
        (Window.DAY, "2027-03-28T02:30:00", "2027-03-28T00:00:00", "2027-03-29T00:00:00"),
        (Window.MONTH, "2028-02-29T23:59:59", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        (Window.MONTH, "2027-12-31T23:59:59", "2027-12-01T00:00:00", "2028-01-01T00:00:00"),
    ],
)
def test_a_period_follows_the_calendar_of_utc(window: Window, moment: str, started_at: str, resets_at: str) -> None:
    assert window.started_at(at(moment)) == at(started_at)
    assert window.resets_at(at(started_at)) == at(resets_at)


def test_the_period_of_a_session_has_no_end() -> None:
    assert (Window.SESSION.started_at(at("2027-01-15T08:00:00")), Window.SESSION.resets_at(0)) == (0, 0)


@given(LASTING, MOMENTS)
def test_every_moment_is_in_exactly_one_period_and_the_next_begins_where_it_ends(window: Window, moment: int) -> None:
    started = window.started_at(moment)
    ends = window.resets_at(started)
    assert started <= moment < ends
    assert window.started_at(started) == started == window.started_at(ends - 1)
    assert window.started_at(ends) == ends


@given(MOMENTS)
def test_months_are_those_of_another_calendar(moment: int) -> None:
    year, month, *_ = time.gmtime(moment)
    assert Window.MONTH.started_at(moment) == calendar.timegm((year, month, 1, 0, 0, 0))


@given(st.sampled_from(Subject), st.text(min_size=1), st.sampled_from(Metric), st.sampled_from(Window))
def test_a_name_is_read_back_whatever_the_subject_is_called(
    subject: Subject, name: str, metric: Metric, window: Window
) -> None:
    budget = Budget(subject, name, metric, window)
    assert Budget.named(budget.key) == budget


@pytest.mark.parametrize(
    "name", ["", "agent:", "agent:/calls/day", "agent:a/calls", "king:a/calls/day", "agent:a/b/day"]
)
def test_what_is_no_name_of_a_budget_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        Budget.named(name)


def test_less_than_reserved_gives_the_rest_back() -> None:
    counter = Counter(used=3).reserve(5).settle(5, 2, limit=10)
    assert counter == Counter(used=5)


def test_more_than_reserved_is_used_and_overrun() -> None:
    assert Counter().reserve(5).settle(5, 9, limit=6) == Counter(used=9, overrun=4)


def test_without_an_estimate_only_what_is_beyond_the_limit_is_overrun() -> None:
    assert Counter(used=3).settle(0, 4, limit=10) == Counter(used=7)
    assert Counter(used=3).settle(0, 9, limit=10) == Counter(used=12, overrun=2)
    assert Counter(used=3, reserved=6).use(4, limit=10) == Counter(used=7, reserved=6, overrun=3)


def test_what_was_used_never_falls_below_nothing() -> None:
    assert Counter(used=7, overrun=5).adjust(-4) == Counter(used=3, overrun=3)
    assert Counter(used=7).adjust(-9) == Counter()


@given(st.integers(0, SAFE_INTEGER), st.integers(0, SAFE_INTEGER), st.integers(0, SAFE_INTEGER))
def test_no_claim_makes_a_figure_that_json_does_not_keep(used: int, reserved: int, amount: int) -> None:
    counter = Counter(used, reserved)
    limit = SAFE_INTEGER
    for after in (counter.reserve(amount), counter.use(amount, limit=limit), counter.settle(reserved, amount, limit=1)):
        assert 0 <= after.overrun <= after.used <= SAFE_INTEGER
        assert 0 <= after.reserved <= after.spent <= SAFE_INTEGER
    # Whoever claims the largest figure is let through nowhere any more.
    assert not counter.use(SAFE_INTEGER, limit=limit).takes(1, limit=limit)


STATE = BudgetState(
    Budget(Subject.AGENT, AGENT, Metric.CALLS, Window.HOUR),
    at("2027-01-15T08:00:00"),
    Counter(used=3, reserved=1),
    limit=10,
    frozen=False,
)


def test_a_forecast_tells_when_the_budget_is_used_up_at_this_pace() -> None:
    # Four of ten in twenty minutes: the last one goes after fifty.
    assert STATE.exhausted_at(at("2027-01-15T08:20:00")) == at("2027-01-15T08:50:00")
    # Four of ten in forty minutes last until after the reset.
    assert STATE.exhausted_at(at("2027-01-15T08:40:00")) == 0
    used_up = dataclasses.replace(STATE, counter=Counter(used=10))
    assert used_up.exhausted_at(at("2027-01-15T08:40:00")) == 0


def test_policy_is_told_the_whole_state() -> None:
    assert STATE.fact() == {
        "used": 3,
        "reserved": 1,
        "overrun": 0,
        "frozen": False,
        "resets_at_seconds": at("2027-01-15T09:00:00"),
    }
