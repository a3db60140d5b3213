"""Small stores are asked from many places at once, each time in another thread, and never refuse for that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.adapters.sqlite.checkpoint_store import SqliteCheckpointStore
from aisecops_server.adapters.sqlite.rollout_state import SqliteRolloutStore
from aisecops_server.adapters.sqlite.witness_store import SqliteWitnessStore
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.formats.signed_note import Note, NoteSignature
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.rollouts.rollout import Proposal, Voice

pytestmark = pytest.mark.asyncio
AT_ONCE = 200
ORIGIN = "log.example"
# A store verifies nothing.
SIGNED = NoteSignature(ORIGIN, b"k" * 4, b"s" * 64)


def activation(path: Path) -> tuple[Callable[[], None], Callable[[int], Awaitable[object]]]:
    store = ActivationState(path)

    async def use(turn: int) -> object:
        return await (store.load() if turn % 2 else store.every_announced())

    return store.close, use


def checkpoints(path: Path) -> tuple[Callable[[], None], Callable[[int], Awaitable[object]]]:
    store = SqliteCheckpointStore(path)

    async def use(turn: int) -> object:
        return await (store.latest() if turn % 2 else store.save(Note(f"{ORIGIN}\n{turn}\n", (SIGNED,))))

    return store.close, use


def rollouts(path: Path) -> tuple[Callable[[], None], Callable[[int], Awaitable[object]]]:
    store = SqliteRolloutStore(path)
    asked = Proposal("activate x", CommitId("1" * 40), (Voice("ada", "because", 1),))

    async def use(turn: int) -> object:
        if turn % 3:
            return await (store.recent(5) if turn % 2 else store.proposal(asked.subject))
        return await store.propose(asked)

    return store.close, use


def witness(path: Path) -> tuple[Callable[[], None], Callable[[int], Awaitable[object]]]:
    store = SqliteWitnessStore(path)

    async def use(turn: int) -> object:
        return await (store.latest(ORIGIN) if turn % 2 else store.advance(ORIGIN, LogHead(turn, b"r" * 32), after=0))

    return store.close, use


@pytest.mark.parametrize("opened", [activation, checkpoints, rollouts, witness])
async def test_many_at_once_all_have_their_answer(
    tmp_path: Path, opened: Callable[[Path], tuple[Callable[[], None], Callable[[int], Awaitable[object]]]]
) -> None:
    close, use = opened(tmp_path / "store.db")
    answers = await asyncio.gather(*map(use, range(AT_ONCE)), return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    close()
