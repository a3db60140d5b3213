"""A restart serves what was live before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.activation_state import ActivationState
from aisecops_server.domain.bundles.bundle import Activated, BundleDigest, CommitId
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.ports import ActivationStore

FIRST = Activated(CommitId("1" * 40), BundleDigest("a" * 64))
SECOND = Activated(CommitId("2" * 40), BundleDigest("b" * 64))


@pytest.mark.asyncio
async def test_nothing_is_live_before_the_first_activation(tmp_path: Path) -> None:
    store = ActivationState(tmp_path / "activation.db")
    assert await store.load() is None
    store.close()


@pytest.mark.asyncio
async def test_the_latest_activation_survives_a_restart_with_the_one_before(tmp_path: Path) -> None:
    state = ActivationState(tmp_path / "activation.db")
    store: ActivationStore = state
    await store.save(FIRST, None)
    assert await store.load() == (FIRST, None)
    await store.save(SECOND, FIRST)
    state.close()
    again = ActivationState(tmp_path / "activation.db")
    assert await again.load() == (SECOND, FIRST)
    again.close()


def test_a_damaged_file_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "activation.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(IntegrityError):
        ActivationState(tmp_path / "activation.db")
