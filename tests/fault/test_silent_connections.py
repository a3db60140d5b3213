"""A connection over which nothing comes any more is told from a server that works, by what the server says of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import apsw
import pytest
from aisecops_server.adapters.postgres.connection import SHORT, PostgresConnection

from tests.fault.network import BOTH, Link, Way, link_to
from tests.fault.test_database_connections import over
from tests.scenes.planes.engines import until
from tests.scenes.servers.postgres_servers import PostgresServer, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]
HEAD = "SELECT size FROM log_head FOR UPDATE"
# Which way loses its bytes, and what is said meanwhile: of a COMMIT the answer tells whether it was made.
LOST = {
    "everything": (BOTH, "SELECT 1"),
    "the question": ({Way.ASKS}, "SELECT 1"),
    "the answer": ({Way.ANSWERS}, "SELECT 1"),
    "a commit": ({Way.ASKS}, "COMMIT"),
    "the answer to a commit": ({Way.ANSWERS}, "COMMIT"),
}


@pytest.fixture
def link(postgres: PostgresServer) -> Iterator[Link]:
    with link_to(postgres.socket) as made:
        yield made


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    return postgres.database()


async def refused(connection: PostgresConnection, sql: str, link: Link, lost: frozenset[Way]) -> float:
    """Say something whose bytes are lost on a network that is well right after it; return how long it was believed."""
    link.swallowed = lost
    began = time.monotonic()
    asking = asyncio.create_task(asyncio.to_thread(connection.execute, sql))
    await until(lambda: link.is_silent)
    link.heal()
    with pytest.raises(apsw.IOError):
        await asking
    return time.monotonic() - began


@pytest.mark.parametrize("name", LOST)
async def test_a_silent_connection_is_given_up_soon_and_its_session_ended(
    postgres: PostgresServer, link: Link, database: str, name: str
) -> None:
    ways, sql = LOST[name]
    connection = await asyncio.to_thread(PostgresConnection, over(link, database), patience=SHORT)
    await asyncio.to_thread(connection.begin)
    await asyncio.to_thread(connection.execute, HEAD)
    session = (await asyncio.to_thread(connection.execute, "SELECT pg_backend_pid()")).get
    assert await refused(connection, sql, link, frozenset(ways)) < SHORT.answer_seconds - 1
    # Nothing holds the head any more, and what was lost on the way finds nobody who would do it.
    left = await asyncio.to_thread(postgres.run, f"SELECT state FROM pg_stat_activity WHERE pid = {session}")
    assert left == []
    await asyncio.to_thread(connection.begin)
    assert (await asyncio.to_thread(connection.execute, HEAD)).get == 0
    await asyncio.to_thread(connection.close)


async def test_a_server_that_works_is_waited_for(link: Link, database: str) -> None:
    first, second = [
        await asyncio.to_thread(PostgresConnection, over(link, database), patience=SHORT) for _ in range(2)
    ]
    await asyncio.to_thread(first.begin)
    await asyncio.to_thread(first.execute, HEAD)
    await asyncio.to_thread(second.begin)
    waiting = asyncio.create_task(asyncio.to_thread(second.execute, HEAD))
    # Longer than a silent connection is believed in, with nothing on the way meanwhile.
    assert (await asyncio.to_thread(first.execute, "SELECT 7 FROM pg_sleep(3)")).get == 7
    assert not waiting.done()
    await asyncio.to_thread(first.execute, "COMMIT")
    assert (await waiting).get == 0
    await asyncio.to_thread(second.execute, "COMMIT")
    for one in (first, second):
        await asyncio.to_thread(one.close)


async def test_through_a_pooler_nobody_else_is_asked_about(link: Link, database: str) -> None:
    link.is_renumbering = True
    connection = await asyncio.to_thread(PostgresConnection, over(link, database), patience=SHORT)
    told = connection._connection.get_server_pid()
    assert told != (await asyncio.to_thread(connection.execute, "SELECT pg_backend_pid()")).get
    # On the server there is no session of that number, as of one that is gone; this one works.
    assert (await asyncio.to_thread(connection.execute, "SELECT 7 FROM pg_sleep(3)")).get == 7
    await asyncio.to_thread(connection.close)


async def test_what_the_server_does_not_tell_is_not_guessed(
    postgres: PostgresServer, link: Link, database: str
) -> None:
    await asyncio.to_thread(postgres.run, f"ALTER DATABASE {database} SET track_activities = off")
    connection = await asyncio.to_thread(PostgresConnection, over(link, database), patience=SHORT)
    # Not in a transaction: that the server ends by itself, and is found to be gone.
    assert await refused(connection, "SELECT 1", link, BOTH) >= SHORT.answer_seconds - 0.1
    await asyncio.to_thread(connection.close)


async def test_a_network_that_stays_away_is_given_up_at_the_bound(link: Link, database: str) -> None:
    connection = await asyncio.to_thread(PostgresConnection, over(link, database), patience=SHORT)
    await asyncio.to_thread(connection.begin)
    link.swallowed = BOTH
    began = time.monotonic()
    with pytest.raises(apsw.IOError):
        await asyncio.to_thread(connection.execute, "SELECT 1")
    assert time.monotonic() - began >= SHORT.answer_seconds - 0.1
    link.heal()
    await asyncio.to_thread(connection.close)
