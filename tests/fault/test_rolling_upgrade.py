"""A database is migrated under two replicas of the version before, which append all the while, reconnect and restart.

There is no version before the first one, so this program is the older one: the migration that it goes on after is one
of the kind that is allowed, and of the kind that is not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aisecops_server.adapters.postgres import server
from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.domain.log.record import Receipt

from tests.fault.rounds import rounds
from tests.fault.test_database_connections import opened, wrong
from tests.scenes.log.records import Records
from tests.scenes.planes.engines import until
from tests.scenes.servers.postgres_servers import PostgresServer, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]
RESTARTS_AFTER = 60
# What a migration may do: add. Columns come last and have a default.
ADDS = """
    ALTER TABLE event ADD COLUMN region text NOT NULL DEFAULT 'here';
    ALTER TABLE decision ADD COLUMN weight bigint;
    ALTER TABLE trace ADD COLUMN weight bigint;
    ALTER TABLE document ADD COLUMN weight bigint;
    CREATE TABLE later (id bigint PRIMARY KEY);
    CREATE INDEX event_region ON event (region);
    UPDATE trace SET weight = 7;"""
# What it may not: take away what the version before needs.
RENAMES = "ALTER TABLE event RENAME COLUMN body TO content;"
CONNECTED = "FROM pg_stat_activity WHERE usename = 'replica' AND datname = current_database()"


class StoppedError(Exception):
    """A replica gave itself up."""


@dataclass
class Replica:
    """Appends without a pause, to traces that it goes on with."""

    url: str
    prefix: str
    acknowledged: list[Receipt] = field(default_factory=list)
    sealed: str = ""

    async def append(self, ended: asyncio.Event) -> None:
        records = Records(prefix=self.prefix)
        while not (ended.is_set() or self.sealed):
            # Started anew now and then.
            async with opened(self.url) as log:
                for turn in range(RESTARTS_AFTER):
                    with contextlib.suppress(LogUnavailableError):
                        trace = f"{turn % 2}" * 32
                        self.acknowledged.append(await log.append(records.record(trace_id=trace)))
                    self.sealed = log.sealed
                    if ended.is_set() or self.sealed:
                        return

    async def some_more(self, count: int) -> None:
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted or bool(self.sealed), seconds=60)
        if self.sealed:
            raise StoppedError(self.sealed)


@contextlib.asynccontextmanager
async def appending(url: str) -> AsyncIterator[list[Replica]]:
    replicas, ended = [Replica(url, prefix) for prefix in "ab"], asyncio.Event()
    tasks = [asyncio.create_task(replica.append(ended)) for replica in replicas]
    try:
        yield replicas
    finally:
        ended.set()
        await asyncio.gather(*tasks)


def migrated(url: str, script: str) -> None:
    """Take one step beyond what this program knows, as the next version would."""
    following = server.migrations()[-1].version + 1
    with contextlib.closing(PostgresConnection(url)) as owner, owner:
        owner.script(script)
        owner.execute("INSERT INTO migration (version, name) VALUES (?, ?)", (following, "of the next version"))


async def upgraded(postgres: PostgresServer, database: str, script: str) -> list[Receipt]:
    """Migrate under load, break every connection, and restart; return what was acknowledged in all."""
    async with appending(postgres.url(database)) as replicas:
        await asyncio.gather(*(replica.some_more(20) for replica in replicas))
        await asyncio.to_thread(migrated, postgres.url(database, "administrator"), script)
        await asyncio.gather(*(replica.some_more(20) for replica in replicas))
        for _ in range(rounds(1, of_many=10)):
            await asyncio.to_thread(postgres.run, f"SELECT pg_terminate_backend(pid) {CONNECTED}", database)
            # Past the next restart.
            await asyncio.gather(*(replica.some_more(RESTARTS_AFTER + 1) for replica in replicas))
    return [receipt for replica in replicas for receipt in replica.acknowledged]


async def test_replicas_go_on_over_a_migration_that_adds(postgres: PostgresServer) -> None:
    database = await asyncio.to_thread(postgres.database)
    found = await upgraded(postgres, database, ADDS)
    assert len({receipt.log_index for receipt in found}) == len(found)
    assert await wrong(postgres.url(database), found) == []
    written = await asyncio.to_thread(postgres.run, "SELECT DISTINCT region FROM aisecops.event", database)
    assert written == [("here",)]
    # What the next version knows of a trace is not lost when the one before goes on with it.
    assert await asyncio.to_thread(postgres.run, "SELECT DISTINCT weight FROM aisecops.trace", database) == [(7,)]


async def test_a_migration_that_takes_away_is_found_to_stop_them(postgres: PostgresServer) -> None:
    """The twin: they stop at once, and say why."""
    database = await asyncio.to_thread(postgres.database)
    with pytest.raises(StoppedError, match="body"):
        await upgraded(postgres, database, RENAMES)
