"""Turns on the event loop: long work stops now and then, so that others get theirs, but not after every small piece.

A turn costs as much as a small piece of the work itself. So pieces are weighed, by about how many characters they
went through, and a turn is given when enough of them have come together.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

# About a millisecond of work.
CHARACTERS_PER_TURN = 16 * 1024
# What the smallest piece weighs.
LEAST = 2 * 1024


@dataclass(slots=True)
class Turns:
    """The work of one task since others had their turn."""

    _done: int = 0

    async def after(self, characters: int) -> None:
        """Count a piece of work, and let others run when it was enough."""
        self._done += LEAST + characters
        if self._done >= CHARACTERS_PER_TURN:
            self._done = 0
            await asyncio.sleep(0)
