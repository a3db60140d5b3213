"""What is done again and again: it goes on after whatever happens, and the same problem is said once."""

from __future__ import annotations

import asyncio

import pytest
from aisecops_server.domain.errors import ContendedError
from aisecops_server.usecases.log.rounds import Rounds


class UnforeseenError(RuntimeError):
    """Something that nobody foresaw."""


@pytest.mark.asyncio
async def test_rounds_go_on_after_whatever_happens_and_say_the_same_problem_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    busy = ContendedError("busy")
    rounds: list[int | Exception] = [3, UnforeseenError(), busy, busy, 0, busy]
    paused: list[float] = []

    async def work() -> int:
        result = rounds[len(paused)]
        if isinstance(result, Exception):
            raise result
        return result

    async def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == len(rounds):
            raise asyncio.CancelledError

    caplog.set_level("INFO", Rounds.__module__)
    with pytest.raises(asyncio.CancelledError):
        await Rounds(work, done="ended", failed="not ended", interval_seconds=5.0, pause=pause).run()
    assert paused == [5.0] * len(rounds)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "ended: 3"),
        ("ERROR", "not ended"),
        ("WARNING", f"not ended: {busy.diagnostics()}"),
        ("WARNING", f"not ended: {busy.diagnostics()}"),
    ]
