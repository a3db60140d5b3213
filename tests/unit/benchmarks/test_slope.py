"""The slope of the soak: right on a line, and hardly moved by readings that are off."""

from __future__ import annotations

import random

import pytest

from benchmarks.slope import Slope, theil_sen
from benchmarks.soak import MET, verdict

STEADY = Slope(0, 0, 0)


@pytest.mark.parametrize(
    ("memory", "files", "said"),
    [
        (Slope(0.5, -0.2, 1.1), STEADY, MET),
        (Slope(2, 1.5, 2.5), STEADY, "NOT as wanted"),
        (Slope(0.5, -3, 22), STEADY, "cannot be told"),
        (Slope(5, 0, 9), STEADY, "cannot be told"),
        (STEADY, Slope(2, 1, 3), "NOT as wanted"),
    ],
)
def test_a_soak_is_judged_by_what_can_be_told(memory: Slope, files: Slope, said: str) -> None:
    assert verdict({"resident": memory, "files": files, "threads": STEADY}).startswith(said)


def test_a_line_has_its_slope_and_nothing_around_it() -> None:
    found = theil_sen([0, 1, 2, 3, 4], [10, 12, 14, 16, 18])
    assert (found.middle, found.low, found.high) == (2, 2, 2)


@pytest.mark.parametrize("grows", [0.0, 3.0, -2.0])
def test_noise_and_a_few_wild_readings_change_little(grows: float) -> None:
    chance = random.Random(11)
    times = [number / 60 for number in range(120)]
    readings = [200 + grows * time + chance.gauss(0, 0.3) for time in times]
    for place in range(0, 120, 15):
        readings[place] += 40
    found = theil_sen(times, readings)
    assert found.low <= grows <= found.high
    assert abs(found.middle - grows) < 0.3


def test_what_is_steady_but_for_one_step_is_not_taken_for_growth() -> None:
    assert theil_sen(range(100), [100.0] * 90 + [140.0] * 10).middle == 0


def test_too_few_readings_are_none() -> None:
    with pytest.raises(ValueError, match="4 readings"):
        theil_sen([0, 1, 2], [1, 1, 1])
