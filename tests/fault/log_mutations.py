"""What somebody with the database file in hand may do to it, each with the event that the check must name."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import apsw
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.domain.log.merkle import leaf_hash

from tests.scenes.log.records import Records

DECISIONS = 60
EVENTS = 6 * DECISIONS
SUBTREE = 256
COLUMNS = ("event_id", "trace_id", "plan_id", "decision_id", "stage", "type")

# A mutation changes the database and returns the index that must be named, or those of which one must be.
Mutation = Callable[[apsw.Connection, random.Random], int | frozenset[int]]


def names(expected: int | frozenset[int], found: int | None) -> bool:
    """Whether the check named an event that was changed."""
    return found in expected if isinstance(expected, frozenset) else found == expected


def flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def an_event(chance: random.Random) -> int:
    return chance.randrange(EVENTS)


def an_outcome(chance: random.Random) -> int:
    return 6 * chance.randrange(DECISIONS) + 5


def a_plan(chance: random.Random) -> int:
    """The event of a decision that has a payload."""
    return 6 * chance.randrange(DECISIONS)


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


def swapped(connection: apsw.Connection, chance: random.Random) -> int | frozenset[int]:
    first, second = sorted(chance.sample(range(EVENTS), 2))
    connection.execute("UPDATE event SET idx = -1 WHERE idx = ?", (first,))
    connection.execute("UPDATE event SET idx = ? WHERE idx = ?", (first, second))
    connection.execute("UPDATE event SET idx = ? WHERE idx = -1", (second,))
    # At the edge, what belongs to an event (its decision, its payload) may tell before the root does.
    return frozenset({first, second, first_of_its_subtree(first)}) if first >= SUBTREE else 0


def bodies_swapped(connection: apsw.Connection, chance: random.Random) -> int:
    first, second = sorted(chance.sample(range(EVENTS), 2))
    query = "SELECT body, leaf_hash FROM event WHERE idx = ?"
    one, other = (connection.execute(query, (index,)).get for index in (first, second))
    for index, pair in ((first, other), (second, one)):
        connection.execute("UPDATE event SET body = ?, leaf_hash = ? WHERE idx = ?", (*pair, index))
    # Behind the complete subtree the columns are compared first, and they tell which event it is.
    return first if first >= SUBTREE else first_of_its_subtree(first)


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


def payload_bit(connection: apsw.Connection, chance: random.Random) -> int:
    index = a_plan(chance)
    payload = connection.execute("SELECT bytes FROM payload WHERE idx = ?", (index,)).get
    connection.execute("UPDATE payload SET bytes = ? WHERE idx = ?", (flipped(payload, chance), index))
    return index


def payload_dropped(connection: apsw.Connection, chance: random.Random) -> int:
    index = a_plan(chance)
    connection.execute("DELETE FROM payload WHERE idx = ?", (index,))
    return index


def payload_erased_without_a_word(connection: apsw.Connection, chance: random.Random) -> int:
    """The table says that it was erased, and no event does."""
    index = a_plan(chance)
    connection.execute("DELETE FROM payload WHERE idx = ?", (index,))
    connection.execute("INSERT INTO erasure SELECT trace_id, 1000 FROM event WHERE idx = ?", (index,))
    return index


def payload_of_another(connection: apsw.Connection, chance: random.Random) -> int:
    index, other = chance.sample([6 * number for number in range(DECISIONS)], 2)
    query = "UPDATE payload SET bytes = (SELECT bytes FROM payload WHERE idx = ?) WHERE idx = ?"
    connection.execute(query, (other, index))
    return index


def payload_where_none_was(connection: apsw.Connection, chance: random.Random) -> int:
    index = a_plan(chance) + 1
    connection.execute("INSERT INTO payload VALUES (?, CAST(randomblob(60) || '{}' AS BLOB))", (index,))
    return index


MUTATIONS: list[Mutation] = [
    payload_bit,
    payload_dropped,
    payload_erased_without_a_word,
    payload_of_another,
    payload_where_none_was,
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


def write_original(database: Path) -> None:
    """Write a log of 60 decisions, 360 events: one complete subtree and a right edge of three peaks."""

    async def write() -> None:
        make = Records()
        log = open_log(database, LogOptions(minimum_free_bytes=0))
        await log.append_many([make.record(key=f"key-{number}") for number in range(DECISIONS)])
        await log.close()

    asyncio.run(write())
