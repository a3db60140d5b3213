"""How the steps of a reservation end, and who may say what they came to."""

from __future__ import annotations

import dataclasses

import pytest
from aisecops_server.domain.budgets.budget import Budget, Metric, Subject, Window
from aisecops_server.domain.budgets.reservation import (
    Ending,
    Portion,
    Reservation,
    ReservationState,
    Settled,
    StepSettlement,
    expired,
    settlement,
    voided,
)
from aisecops_server.domain.formats.canonical import SAFE_INTEGER

CALLS = Budget(Subject.AGENT, "a", Metric.CALLS, Window.DAY)
MONEY = Budget(Subject.TEAM, "t", Metric.MICRO_USD, Window.MONTH)
TOKENS = Budget(Subject.AGENT, "a", Metric.TOKENS, Window.HOUR)
TOOL = Budget(Subject.TOOL, "crm/read", Metric.MICRO_USD, Window.DAY)
RESERVATION = Reservation(
    decision_id="dec-1",
    trace_id="0" * 32,
    plan_id="plan-1",
    expires_at_seconds=1000,
    step_ids=("s1", "s2"),
    portions=(
        Portion(CALLS, 0, 10, 0, {"s1": 1, "s2": 1}),
        Portion(MONEY, 0, 900, 5, {"s1": 100}),
        Portion(TOKENS, 0, 50, 0, {}),
        Portion(TOOL, 0, 900, 0, {"s2": 0}),
    ),
)


def amounts(found: StepSettlement | None) -> dict[Budget, tuple[int, int]]:
    assert found is not None
    return {settled.budget: (settled.reserved, settled.actual) for settled in found.amounts}


def test_what_nobody_reports_came_to_what_was_reserved() -> None:
    assert amounts(settlement(RESERVATION, "s1", {})) == {CALLS: (1, 1), MONEY: (100, 100)}


def test_who_spends_can_raise_a_figure_and_never_lower_one() -> None:
    told = {Metric.CALLS: 0, Metric.MICRO_USD: 3, Metric.TOKENS: 70}
    assert amounts(settlement(RESERVATION, "s1", told)) == {CALLS: (1, 1), MONEY: (100, 100), TOKENS: (0, 70)}
    assert amounts(settlement(RESERVATION, "s1", {Metric.MICRO_USD: 250}))[MONEY] == (100, 250)


def test_what_a_call_costs_counts_where_nothing_was_reserved_for_it() -> None:
    # Of the tool's budget only the step that calls the tool.
    assert TOOL not in amounts(settlement(RESERVATION, "s1", {Metric.MICRO_USD: 7}))
    assert amounts(settlement(RESERVATION, "s2", {Metric.MICRO_USD: 7})) == {CALLS: (1, 1), MONEY: (0, 7), TOOL: (0, 7)}


def test_no_claim_is_larger_than_json_keeps() -> None:
    assert amounts(settlement(RESERVATION, "s1", {Metric.TOKENS: 2**70}))[TOKENS] == (0, SAFE_INTEGER)


def test_only_what_is_more_than_an_estimate_breaks_it() -> None:
    def breaks(reserved: int, actual: int) -> bool:
        return Settled(CALLS, 0, 10, reserved, actual).breaks_estimate

    assert [breaks(0, 5), breaks(5, 5), breaks(5, 4), breaks(5, 6)] == [False, False, False, True]


@pytest.mark.parametrize("step_id", ["s3", ""])
def test_a_step_of_another_plan_settles_nothing(step_id: str) -> None:
    assert settlement(RESERVATION, step_id, {}) is None


@pytest.mark.parametrize("ending", [Ending.SETTLED, Ending.VOID, Ending.LATE])
def test_a_step_settles_once(ending: Ending) -> None:
    closed = dataclasses.replace(RESERVATION, closed={"s1": ending})
    assert settlement(closed, "s1", {Metric.MICRO_USD: 500}) is None


def test_a_late_report_counts_only_as_far_as_it_is_more_than_was_charged() -> None:
    gone = dataclasses.replace(RESERVATION, closed={"s1": Ending.EXPIRED})
    assert settlement(gone, "s1", {Metric.MICRO_USD: 100}) is None
    assert settlement(gone, "s1", {Metric.MICRO_USD: 1}) is None
    late = settlement(gone, "s1", {Metric.MICRO_USD: 130})
    assert (late and late.ending, amounts(late)) == (Ending.LATE, {MONEY: (100, 130)})


def test_what_expires_is_charged_as_reserved_and_what_cannot_have_run_is_given_back() -> None:
    open_one = dataclasses.replace(RESERVATION, closed={"s2": Ending.SETTLED})
    (ended,) = expired(open_one, open_one.open_steps)
    assert (ended.step_id, ended.ending, amounts(ended)) == ("s1", Ending.EXPIRED, {CALLS: (1, 1), MONEY: (100, 100)})
    (given_back,) = voided(open_one, ["s1", "s2", "s9"])
    assert (given_back.step_id, amounts(given_back)) == ("s1", {CALLS: (1, 0), MONEY: (100, 0)})


@pytest.mark.parametrize(
    ("endings", "state"),
    [
        ((), ReservationState.RESERVED),
        ((Ending.SETTLED,), ReservationState.RESERVED),
        ((Ending.SETTLED, Ending.VOID), ReservationState.SETTLED),
        ((Ending.VOID, Ending.VOID), ReservationState.VOID),
        ((Ending.EXPIRED, Ending.SETTLED), ReservationState.EXPIRED),
        ((Ending.LATE, Ending.SETTLED), ReservationState.EXPIRED),
    ],
)
def test_a_reservation_is_over_when_all_of_its_steps_are(endings: tuple[Ending, ...], state: ReservationState) -> None:
    closed = dict(zip(RESERVATION.step_ids, endings, strict=False))
    assert dataclasses.replace(RESERVATION, closed=closed).state is state
