"""Somebody with the database file in hand changes it. The check says so, and names the event."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log, open_log_read_only
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.merkle import leaf_hash

from tests.fault.log_copies import copied, verified
from tests.records import Records

DECISIONS = 60
EVENTS = 6 * DECISIONS
SUBTREE = 256
PER_KIND = 15
COLUMNS = ("event_id", "trace_id", "plan_id", "decision_id", "stage", "type")

# A mutation changes the database and returns the index that must be named.
Mutation = Callable[[apsw.Connection, random.Random], int]


def flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def an_event(chance: random.Random) -> int:
    return chance.randrange(EVENTS)


def an_outcome(chance: random.Random) -> int:
    return 6 * chance.randrange(DECISIONS) + 5


def first_of_its_subtree(index: int) -> int:
    """Where a rewritten leaf can be located: its complete subtree of 256, or the peak of the right edge."""
    if index < SUBTREE:
        return 0
    # 360 leaves: 256 + 64 + 32 + 8.
    return max(start for start in (256, 320, 352) if start <= index)


def body_bit(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_event(chance)
    body = connection.execute("SELECT body FROM event WHERE idx = ?", (index,)).get
    connection.execute("UPDATE event SET body = ? WHERE idx = ?", (flipped(body, chance), index))
    return index


def leaf_bit(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_event(chance)
    leaf = connection.execute("SELECT leaf_hash FROM event WHERE idx = ?", (index,)).get
    connection.execute("UPDATE event SET leaf_hash = ? WHERE idx = ?", (flipped(leaf, chance), index))
    return index


def column(connection: apsw.Connection, chance: random.Random) -> int:
    index, name = an_event(chance), chance.choice(COLUMNS)
    connection.execute(f"UPDATE event SET {name} = {name} || 'x' WHERE idx = ?", (index,))
    return index


def column_with_a_quote(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_event(chance)
    connection.execute("""UPDATE event SET type = type || '","x":"' WHERE idx = ?""", (index,))
    return index


def time(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_event(chance)
    connection.execute("UPDATE event SET occurred_at = occurred_at + 1000 WHERE idx = ?", (index,))
    return index


def rewritten(connection: apsw.Connection, chance: random.Random) -> int:
    """Another body with its own leaf hash: only the tree still knows."""
    index = an_event(chance)
    body = connection.execute("SELECT body FROM event WHERE idx = ?", (index,)).get
    body = body.replace(b'"schema_version":', b'"schema_version": ')
    connection.execute("UPDATE event SET body = ?, leaf_hash = ? WHERE idx = ?", (body, leaf_hash(body), index))
    return first_of_its_subtree(index)


def dropped(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_event(chance)
    connection.execute("DELETE FROM event WHERE idx = ?", (index,))
    return index


def truncated(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_event(chance)
    connection.execute("DELETE FROM event WHERE idx >= ?", (index,))
    return index


def swapped(connection: apsw.Connection, chance: random.Random) -> int:
    first, second = sorted(chance.sample(range(EVENTS), 2))
    connection.execute("UPDATE event SET idx = -1 WHERE idx = ?", (first,))
    connection.execute("UPDATE event SET idx = ? WHERE idx = ?", (first, second))
    connection.execute("UPDATE event SET idx = ? WHERE idx = -1", (second,))
    return first_of_its_subtree(first)


def bodies_swapped(connection: apsw.Connection, chance: random.Random) -> int:
    first, second = sorted(chance.sample(range(EVENTS), 2))
    query = "SELECT body, leaf_hash FROM event WHERE idx = ?"
    one, other = (connection.execute(query, (index,)).get for index in (first, second))
    for index, pair in ((first, other), (second, one)):
        connection.execute("UPDATE event SET body = ?, leaf_hash = ? WHERE idx = ?", (*pair, index))
    return first_of_its_subtree(first)


def added(connection: apsw.Connection, chance: random.Random) -> int:
    query = """
        INSERT INTO event SELECT ?, 'forged', trace_id, plan_id, decision_id, stage, type, occurred_at, leaf_hash, body
        FROM event WHERE idx = ?"""
    connection.execute(query, (EVENTS, an_event(chance)))
    return EVENTS


def document_bit(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_outcome(chance)
    query = (
        "SELECT x.digest, x.bytes FROM decision JOIN document AS x ON digest = document_digest WHERE outcome_idx = ?"
    )
    digest, document = connection.execute(query, (index,)).get
    connection.execute("UPDATE document SET bytes = ? WHERE digest = ?", (flipped(document, chance), digest))
    return index


def document_dropped(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_outcome(chance)
    query = "DELETE FROM document WHERE digest = (SELECT document_digest FROM decision WHERE outcome_idx = ?)"
    connection.execute(query, (index,))
    return index


def document_exchanged(connection: apsw.Connection, chance: random.Random) -> int:
    index, other = chance.sample([6 * number + 5 for number in range(DECISIONS)], 2)
    query = """
        UPDATE decision SET document_digest = (SELECT document_digest FROM decision WHERE outcome_idx = ?)
        WHERE outcome_idx = ?"""
    connection.execute(query, (other, index))
    return index


def decision_renamed(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_outcome(chance)
    connection.execute("UPDATE decision SET decision_id = 'forged' WHERE outcome_idx = ?", (index,))
    return index


def decision_moved(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_outcome(chance)
    connection.execute("UPDATE decision SET trace = (trace + 1) % 60 WHERE outcome_idx = ?", (index,))
    return index


def decision_dropped(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_outcome(chance)
    connection.execute("DELETE FROM decision WHERE outcome_idx = ?", (index,))
    return index


def decision_added(connection: apsw.Connection, chance: random.Random) -> int:
    query = """
        INSERT INTO decision SELECT ?, 'forged', trace, document_digest, NULL FROM decision WHERE outcome_idx = ?"""
    connection.execute(query, (EVENTS + 7, an_outcome(chance)))
    return EVENTS + 7


def retry_digest(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_outcome(chance)
    connection.execute("UPDATE idempotency SET request_digest = 'forged' WHERE outcome_idx = ?", (index,))
    return index


def retry_dropped(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_outcome(chance)
    connection.execute("DELETE FROM idempotency WHERE outcome_idx = ?", (index,))
    return index


def retry_of_another(connection: apsw.Connection, chance: random.Random) -> int:
    index = an_outcome(chance)
    connection.execute("UPDATE idempotency SET principal_id = 'somebody' WHERE outcome_idx = ?", (index,))
    return index


def subtree_forged(connection: apsw.Connection, chance: random.Random) -> int:
    connection.execute("UPDATE subtree SET hash = randomblob(32)")
    return 0


def head_forged(connection: apsw.Connection, chance: random.Random) -> int:
    peak = chance.randrange(4)
    peaks = connection.execute("SELECT peaks FROM log_head").get
    forged = peaks[: 32 * peak] + flipped(peaks[32 * peak : 32 * peak + 32], chance) + peaks[32 * peak + 32 :]
    connection.execute("UPDATE log_head SET peaks = ?", (forged,))
    return (0, 256, 320, 352)[peak]


MUTATIONS: list[Mutation] = [
    body_bit,
    leaf_bit,
    column,
    column_with_a_quote,
    time,
    rewritten,
    dropped,
    truncated,
    swapped,
    bodies_swapped,
    added,
    document_bit,
    document_dropped,
    document_exchanged,
    decision_renamed,
    decision_moved,
    decision_dropped,
    decision_added,
    retry_digest,
    retry_dropped,
    retry_of_another,
    subtree_forged,
    head_forged,
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 60 decisions, 360 events: one complete subtree and a right edge of three peaks."""
    database = tmp_path_factory.mktemp("original") / "audit.db"

    async def write() -> None:
        make = Records()
        log = open_log(database, LogOptions(minimum_free_bytes=0))
        await log.append_many([make.record(key=f"key-{number}") for number in range(DECISIONS)])
        await log.close()

    asyncio.run(write())
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
        assert (report.ok, report.bad_index) == (False, expected), f"seed {seed}: {report.problem}"
        assert str(expected) in report.problem


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
