"""The writing process is killed under load, again and again, and a second one is kept out while it lives."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log, open_log_read_only
from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.domain.log.merkle import is_consistent
from aisecops_server.domain.log.record import LogHead, TraceFilter

from tests.fault.rounds import rounds
from tests.scenes.log.records import STAGES, Records

ROOT = Path(__file__).parents[2]
OPTIONS = LogOptions(minimum_free_bytes=0)
ROUNDS = rounds(5, of_many=50)
# How many appends are in flight when the process is killed, and how many rounds of that are made.
MANY = 10_000
IN_FLIGHT = ((32, ROUNDS), (MANY, rounds(1, of_many=50)))
EVENTS = len(STAGES) + 1


class Acknowledged(NamedTuple):
    """One line of the killed writer."""

    key: str
    decision_id: str
    index: int
    leaf: bytes


def started(database: Path, prefix: str, clients: int = 32) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.fault.log_writer", str(database), prefix, str(clients)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def killed_after(database: Path, prefix: str, count: int, clients: int) -> list[Acknowledged]:
    """Start a writer, kill it at its ``count``-th acknowledgement, and return all that it said."""
    with started(database, prefix, clients) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        lines = [process.stdout.readline() for _ in range(count)]
        process.kill()
        lines += process.stdout.readlines()
    whole = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [Acknowledged(key, decision, int(index), bytes.fromhex(leaf)) for key, decision, index, leaf in whole]


def stored_between(heads: list[LogHead]) -> list[int]:
    """Return how many decisions each round stored, acknowledged or not."""
    sizes = [0, *(head.size for head in heads)]
    return [(later - earlier) // EVENTS for earlier, later in itertools.pairwise(sizes)]


async def require_all(log: SqliteEventLog, acknowledged: list[Acknowledged]) -> None:
    for ack in acknowledged:
        stored = await log.replayed("agent-a", ack.key)
        assert stored is not None, ack.key
        found = (ack.key, stored.decision_id, stored.receipt.log_index, stored.receipt.leaf_hash)
        assert found == ack


@pytest.mark.asyncio
@pytest.mark.timeout(3600)  # Fifty rounds, each of which makes what is in flight first.
@pytest.mark.parametrize(("clients", "count"), IN_FLIGHT)
async def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path, clients: int, count: int) -> None:
    database = tmp_path / "audit.db"
    chance = random.Random(7)
    acknowledged: list[Acknowledged] = []
    heads: list[LogHead] = []
    for number in range(count):
        acknowledged += killed_after(database, f"round{number}", chance.randint(40, 300), clients)
        log = open_log(database, OPTIONS)
        assert log.sealed == ""
        heads.append(await log.head())
        await log.close()
    if clients == MANY:
        assert max(stored_between(heads)) < MANY // 2, "most of what was sent was stored before the kill"
    log = open_log(database, OPTIONS)
    try:
        await require_all(log, acknowledged)
        report = await log.verify()
        assert report.ok, report.problem
        leaves = [stored.leaf_hash async for stored in log.events(from_index=0, follow=False, trace_id="")]
        assert len(leaves) == report.stored.size == heads[-1].size
        for head in heads:
            assert is_consistent(
                old_size=head.size,
                old_root=head.root,
                new_size=len(leaves),
                new_root=report.stored.root,
                proof=await log.consistency(head.size, size=len(leaves)),
            )
        # A caller that never got its answer asks again, and gets what was decided then.
        for ack in acknowledged[-20:]:
            receipt = await log.append(Records("retry").record(key=ack.key))
            assert (receipt.replayed, receipt.log_index, receipt.leaf_hash) == (True, ack.index, ack.leaf)
        assert (await log.head()).size == len(leaves)
    finally:
        await log.close()


@pytest.mark.asyncio
async def test_only_one_process_writes_and_others_may_read(tmp_path: Path) -> None:
    database = tmp_path / "audit.db"
    with started(database, "first") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdout.readline()
        with pytest.raises(LogUnavailableError, match=f"pid {process.pid}") as caught:
            open_log(database, OPTIONS)
        assert "state directory" in caught.value.hint
        reader = open_log_read_only(database)
        assert (await reader.head()).size > 0
        assert (await reader.traces(TraceFilter(), page_size=1, page_token="")).traces
        assert (await reader.verify()).ok
        with pytest.raises(LogUnavailableError, match="reading only"):
            await reader.append(Records().record())
        await reader.close()
        process.kill()
        process.stdout.read()
    again = open_log(database, OPTIONS)
    assert again.sealed == ""
    with pytest.raises(LogUnavailableError, match="another process"):
        open_log(database, OPTIONS)
    await again.close()
