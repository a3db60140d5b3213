"""How often Python looks for cycles in this process's memory while history is replayed.

A part of a replay is tens of thousands of small values that are alive together and go by counting references. Looking
through them after every few hundred new ones, as is usual, finds nothing and took a quarter of a replay's own time.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# Few enough that what is left of failed requests in cycles does not add up to much.
NEW_VALUES = 10_000


@contextlib.contextmanager
def seldom_collecting() -> Iterator[None]:
    """Let this process look for cycles after ``NEW_VALUES`` for the length of the block, or as seldom as it did."""
    before = gc.get_threshold()
    if before[0]:  # 0 is never
        gc.set_threshold(max(NEW_VALUES, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
