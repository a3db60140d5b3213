"""Long work gives turns, and not more of them than its pieces are worth."""

from __future__ import annotations

import asyncio

import pytest
from aisecops_server.usecases.decisions.turns import CHARACTERS_PER_TURN, LEAST, Turns


async def turns_given(pieces: list[int]) -> int:
    given = 0
    working = True

    async def count() -> None:
        nonlocal given
        while working:
            await asyncio.sleep(0)
            given += 1

    other = asyncio.create_task(count())
    await asyncio.sleep(0)
    turns = Turns()
    for piece in pieces:
        await turns.after(piece)
    working = False
    await other
    # What it counts besides is its own end.
    return given - 1


@pytest.mark.asyncio
async def test_every_large_piece_is_followed_by_a_turn() -> None:
    assert await turns_given([CHARACTERS_PER_TURN] * 5) == 5


@pytest.mark.asyncio
async def test_small_pieces_share_a_turn() -> None:
    a_turn = CHARACTERS_PER_TURN // LEAST
    assert await turns_given([0] * (3 * a_turn)) == 3
    assert await turns_given([0] * (a_turn - 1)) == 0
