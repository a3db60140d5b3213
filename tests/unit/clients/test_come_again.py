"""Who was told when to come again does not come before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc
import pytest
from aisecops_client.come_again import ComeAgain
from aisecops_client.errors import AisecopsClientError, FaultError, RetryLaterError


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def refusal(seconds: float | None, **metadata: str) -> RetryLaterError:
    return RetryLaterError("full", grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", metadata, seconds)


def told(seconds: float, *, between: Callable[[float, float], float] = max) -> tuple[ComeAgain, Clock]:
    clock = Clock()
    again = ComeAgain(clock, between)
    again.heard("Decide", refusal(seconds, why="full"))
    return again, clock


def test_a_call_that_comes_too_soon_is_refused_with_what_is_left() -> None:
    again, clock = told(2.0)
    clock.now += 0.5
    with pytest.raises(RetryLaterError) as refused:
        again.check("Decide")
    assert (refused.value.reason, refused.value.retry_after_seconds) == ("OVERLOADED", 1.5)
    clock.now += 1.5
    assert _left(again) == 0.0


def test_callers_come_at_different_times_and_none_later_than_told() -> None:
    left = {_left(told(2.0, between=ComeAgain().between)[0]) for _ in range(100)}
    assert len(left) > 50
    assert 1.0 <= min(left) < max(left) <= 2.0


def test_other_methods_are_not_kept_back() -> None:
    assert _left(told(2.0)[0], "Screen") == 0.0


def test_no_answer_keeps_anybody_away_for_long() -> None:
    assert _left(told(1e9)[0]) == 5.0


@pytest.mark.parametrize(
    "error",
    [
        # No room for what one stream wants to remember: a smaller one may have it.
        refusal(2.0),
        refusal(None, why="full"),
        RetryLaterError("gone", grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE", {"why": "gone"}, 2.0),
        FaultError("sealed", grpc.StatusCode.FAILED_PRECONDITION, "SEALED", {}, None),
    ],
)
def test_what_is_no_refusal_of_the_queue_keeps_nobody_back(error: AisecopsClientError) -> None:
    again = ComeAgain(Clock(), max)
    again.heard("Decide", error)
    assert _left(again) == 0.0


def _left(again: ComeAgain, method: str = "Decide") -> float:
    """Return for how long a method is kept back."""
    try:
        again.check(method)
    except RetryLaterError as error:
        return error.retry_after_seconds or 0.0
    return 0.0
