from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aisecops_server.adapters.sqlite import replay_store
from aisecops_server.adapters.sqlite.replay_store import SqliteReplayStore
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.replays.replay import Phase, Progress, ReplayId, ReplayRecord, ReplayState

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteReplayStore]:
    made = SqliteReplayStore(tmp_path / "replay" / "replay.db")
    yield made
    await made.close()


def record(number: int, **more: object) -> ReplayRecord:
    fields: dict[str, object] = {
        "id": ReplayId(f"rpl-{number}"),
        "question": {"selection": {"agent_id": "a"}},
        "state": ReplayState.RUNNING,
        "asked_by": "ann",
        "started_at_ns": 1_790_000_000_123_456_789,
    }
    return ReplayRecord(**{**fields, **more})


async def test_conclusions_come_back_under_their_keys_and_digests(store: SqliteReplayStore) -> None:
    keys = [bytes([number]) * 16 for number in range(200)]
    await store.remember({key: b"d" + key for key in keys}, {b"d" + keys[0]: {"outcome": "DENY"}})
    assert await store.digests([*keys[:150], b"unknown"]) == {key: b"d" + key for key in keys[:150]}
    assert await store.conclusions([b"d" + keys[0], b"d" + keys[1]]) == {b"d" + keys[0]: {"outcome": "DENY"}}
    assert await store.digests([]) == {}


async def test_parts_are_listed_in_their_order(store: SqliteReplayStore) -> None:
    replay_id = ReplayId("rpl-1")
    for key in ("b", "a"):
        await store.keep_part(key, sums={"of": key}, results=[{"decision_id": key}])
    await store.list_parts(replay_id, ["b", "a"])
    assert await store.part("a") == {"of": "a"}
    assert await store.part("nothing") is None
    assert [await store.results(replay_id, part=part) for part in range(3)] == [
        [{"decision_id": "b"}],
        [{"decision_id": "a"}],
        None,
    ]
    await store.list_parts(replay_id, ["a"])
    assert await store.results(replay_id, part=1) is None


async def test_a_replay_is_read_back_as_it_was_saved(store: SqliteReplayStore) -> None:
    whole = record(
        1,
        state=ReplayState.FAILED,
        progress=Progress(Phase.ALL, 3, 4, 2, 1),
        early={"sampled": True},
        report={"looser": 1},
        reason="NOT_FOUND",
        problem="why",
        finished_at_ns=1_790_000_001_000_000_000,
    )
    await store.save(record(1))
    await store.save(whole)
    assert await store.load(ReplayId("rpl-1")) == whole
    assert await store.load(ReplayId("rpl-2")) is None


async def test_replays_are_listed_newest_first_from_any_of_them_on(store: SqliteReplayStore) -> None:
    for number in range(5):
        await store.save(record(number))
    await store.save(record(0, state=ReplayState.DONE))
    assert [one.id for one in await store.records(below="", limit=3)] == ["rpl-4", "rpl-3", "rpl-2"]
    assert [one.id for one in await store.records(below="rpl-2", limit=3)] == ["rpl-1", "rpl-0"]
    assert await store.records(below="rpl-unknown", limit=3) == []


async def test_what_was_kept_is_there_after_a_restart_and_two_processes_may_share_it(tmp_path: Path) -> None:
    first = SqliteReplayStore(tmp_path / "replay.db")
    await first.save(record(1))
    second = SqliteReplayStore(tmp_path / "replay.db")
    await second.save(record(2))
    assert [one.id for one in await first.records(below="", limit=9)] == ["rpl-2", "rpl-1"]
    await first.close()
    await second.close()


async def test_too_many_replays_are_forgotten_oldest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert replay_store.KEPT_REPLAYS == 500
    store = SqliteReplayStore(tmp_path / "replay.db")
    for number in range(502):
        await store.save(record(number))
    await store.list_parts(ReplayId("rpl-0"), ["a"])
    await store.close()
    again = SqliteReplayStore(tmp_path / "replay.db")
    assert await again.load(ReplayId("rpl-1")) is None
    assert await again.load(ReplayId("rpl-2")) is not None
    assert await again.results(ReplayId("rpl-0"), part=0) is None
    await again.close()


async def test_a_file_that_is_no_memory_of_replays_is_refused(tmp_path: Path) -> None:
    (tmp_path / "replay.db").write_bytes(b"something else, but long enough to be looked at" * 50)
    with pytest.raises(AisecopsError):
        SqliteReplayStore(tmp_path / "replay.db")
