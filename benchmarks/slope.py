"""How fast a figure grows, told robustly: a few readings that are off change little."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Of the normal distribution, for an interval that holds the slope in 95 of 100 runs.
_Z = 1.96
FEWEST = 4


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth in units of the readings for one unit of time, with the ends of its confidence interval."""

    middle: float
    low: float
    high: float


def theil_sen(times: Sequence[float], readings: Sequence[float]) -> Slope:
    """Return the median slope of all pairs (Theil, Sen), and the interval that Kendall's statistic gives.

    The interval takes the readings for independent. Those of one process follow each other, so it is somewhat narrow.

    Raises:
        ValueError: there are too few readings.
    """
    if len(readings) < FEWEST:
        raise ValueError(f"{FEWEST} readings are needed, there are {len(readings)}")
    pairs = itertools.combinations(zip(times, readings, strict=True), 2)
    slopes = sorted((later - earlier) / (after - before) for (before, earlier), (after, later) in pairs)
    count = len(readings)
    spread = _Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((len(slopes) - spread) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + spread) / 2))
    return Slope(statistics.median(slopes), slopes[low], slopes[high])
