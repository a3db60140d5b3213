"""Somebody with the database file in hand changes it. The check says so, and names the event."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log, open_log_read_only
from aisecops_server.domain.errors import AisecopsError

from tests.fault.log_copies import copied, verified
from tests.fault.log_mutations import (
    DECISIONS,
    EVENTS,
    MUTATIONS,
    Mutation,
    added,
    dropped,
    flipped,
    head_forged,
    names,
    subtree_forged,
    truncated,
    write_original,
)
from tests.scenes.log.records import Records

# The whole ten thousand are a measurement: ``python -m benchmarks.tamper --rounds 10000``.
PER_KIND = 15


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("original") / "audit.db"
    write_original(database)
    return database


@pytest.mark.asyncio
async def test_an_untouched_log_verifies(original: Path, tmp_path: Path) -> None:
    report = await verified(copied(original, tmp_path, "same"))
    assert (report.ok, report.stored.size, report.stored) == (True, EVENTS, report.recomputed)


@pytest.mark.asyncio
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
async def test_every_change_is_found_and_its_event_named(mutation: Mutation, original: Path, tmp_path: Path) -> None:
    for seed in range(PER_KIND):
        database = copied(original, tmp_path, str(seed))
        connection = apsw.Connection(str(database))
        expected = mutation(connection, random.Random(seed))
        connection.close()
        report = await verified(database)
        assert not report.ok, f"seed {seed}"
        assert names(expected, report.bad_index), f"seed {seed}: {report.problem}"
        assert str(report.bad_index) in report.problem


@pytest.mark.asyncio
@pytest.mark.parametrize("mutation", [dropped, truncated, added, head_forged, subtree_forged])
async def test_a_log_that_does_not_fit_its_head_opens_sealed(
    mutation: Mutation, original: Path, tmp_path: Path
) -> None:
    database = copied(original, tmp_path, "mutated")
    connection = apsw.Connection(str(database))
    mutation(connection, random.Random(3))
    connection.close()
    log = open_log(database, LogOptions(minimum_free_bytes=0))
    try:
        assert log.sealed.startswith("INTEGRITY: ")
        with pytest.raises(AisecopsError, match="sealed") as refused:
            await log.append(Records("late").record())
        assert "evidence" in refused.value.hint
    finally:
        await log.close()
    again = open_log(database, LogOptions(minimum_free_bytes=0))
    assert again.sealed.startswith("INTEGRITY: "), "opening it repaired it"
    await again.close()


async def observed(database: Path) -> list[object]:
    """Everything that can be read of the record."""
    log = open_log_read_only(database)
    try:
        seen: list[object] = [event async for event in log.events(from_index=0, follow=False, trace_id="")]
        for number in range(DECISIONS):
            seen.append(await log.replayed("agent-a", f"key-{number}"))
            stored = seen[6 * number + 5]
            seen.append(await log.decision(stored.event.decision_id))
        return seen
    finally:
        await log.close()


def rotten(original: Path, folder: Path, seed: int) -> Path:
    database = folder / f"rotten-{seed}.db"
    database.write_bytes(flipped(original.read_bytes(), random.Random(seed)))
    return database


@pytest.mark.asyncio
async def test_a_rotten_byte_in_the_file_is_found_or_changes_nothing_that_is_read(
    original: Path, tmp_path: Path
) -> None:
    before = await observed(copied(original, tmp_path, "before"))
    found = 0
    for seed in range(200):
        database = rotten(original, tmp_path, seed)
        try:
            is_sound = (await verified(database)).ok
        except AisecopsError:
            is_sound = False
        if is_sound:
            assert await observed(database) == before, f"seed {seed}"
        found += not is_sound
    # The others fell into unused space and into what is not the record.
    assert found > 50
