"""Which decisions stand for all of them: some of every stratum, the same ones each time.

A stratum is what decisions have in common that matters to a policy: who asked, what came out, which rules fired. Rare
strata are where a policy change shows, so each gets a place before any gets many; within one the places are spread
evenly from first to last. Nothing is drawn by chance.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

S = TypeVar("S", bound=Hashable)
T = TypeVar("T")


def allocation(sizes: Mapping[S, int], most: int) -> dict[S, int]:
    """Return how many of each stratum to take, at most ``most`` together: by the square roots of their sizes.

    When there are more strata than places, the largest strata have them.
    """
    by_size = sorted((stratum for stratum in sizes if sizes[stratum]), key=lambda stratum: -sizes[stratum])[:most]
    if sum(sizes[stratum] for stratum in by_size) <= most:
        return {stratum: sizes[stratum] for stratum in by_size}
    taken = dict.fromkeys(by_size, 1)
    left = most - len(by_size)
    roots = sum(math.isqrt(sizes[stratum]) for stratum in by_size)
    for stratum in by_size:
        more = min(left * math.isqrt(sizes[stratum]) // roots, sizes[stratum] - 1)
        taken[stratum] += more
    return taken


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return ``count`` of ``items``, evenly spread over them, in their order."""
    if count >= len(items):
        return list(items)
    return [items[(2 * at + 1) * len(items) // (2 * count)] for at in range(count)]
