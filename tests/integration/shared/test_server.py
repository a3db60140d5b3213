"""What a server is refused for, what nobody may change in it, and what happens when it goes away."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import apsw
import asyncpg
import pytest
from aisecops_server.adapters.postgres import server
from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.event_log import open_log
from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.domain.log.record import Receipt

from tests.scenes.log.records import Records
from tests.scenes.servers.postgres_servers import PostgresServer, missing, postgres_server

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may kill."""
    if why := missing():
        pytest.skip(reason=why)
    with postgres_server() as one:
        yield one


def refusal(url: str) -> str:
    with pytest.raises(LogUnavailableError) as raised:
        open_log(url)
    return f"{raised.value.message} {raised.value.hint}"


def test_a_role_that_owns_the_log_is_refused(postgres: PostgresServer) -> None:
    assert "owns the log" in refusal(postgres.url(postgres.database(), "administrator"))


def test_a_role_that_was_given_too_much_is_refused(postgres: PostgresServer) -> None:
    name = postgres.database()
    postgres.run("GRANT DELETE ON aisecops.event TO replica", name)
    assert "may change or delete events" in refusal(postgres.url(name))


def test_a_role_that_was_given_nothing_is_refused(postgres: PostgresServer) -> None:
    assert "permission denied" in refusal(postgres.url(postgres.database(), "stranger"))


def test_a_database_without_a_log_says_how_one_is_made(postgres: PostgresServer) -> None:
    assert "aisecops db init" in refusal(postgres.url(postgres.empty_database()))


def test_a_program_works_on_the_schema_of_its_successor_and_on_no_other(postgres: PostgresServer) -> None:
    name = postgres.database()
    following = server.migrations()[-1].version + 1
    postgres.run(f"INSERT INTO aisecops.migration (version, name) VALUES ({following}, 'of the next version')", name)
    _append(postgres.url(name))
    postgres.run("INSERT INTO aisecops.migration (version, name) VALUES (9999, 'of tomorrow')", name)
    assert "newer program" in refusal(postgres.url(name))
    owner = PostgresConnection(postgres.url(name, "administrator"))
    with contextlib.closing(owner), pytest.raises(LogUnavailableError, match="9999"):
        server.migrate(owner)
    postgres.run("UPDATE aisecops.migration SET version = version - 10000", name)
    assert "aisecops db migrate" in refusal(postgres.url(name))


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_could_lose_what_it_acknowledged_is_refused(own_server: PostgresServer, setting: str) -> None:
    own_server.stop()
    own_server.start(**{setting: "off"})
    assert f"{setting} is off" in refusal(own_server.url(own_server.database()))


def test_a_server_that_is_away_is_said_to_be(postgres: PostgresServer) -> None:
    assert "aisecops db status" in refusal(f"postgresql://replica@/log?host={postgres.folder}/nowhere")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE aisecops.event SET body = ''",
        "DELETE FROM aisecops.event",
        "TRUNCATE aisecops.event",
        "DELETE FROM aisecops.subtree",
        "UPDATE aisecops.log_head SET size = 0",
        "DELETE FROM aisecops.log_head",
    ],
)
@pytest.mark.parametrize("role", ["replica", "auditor", "administrator"])
def test_what_was_recorded_is_changed_by_nobody(postgres: PostgresServer, role: str, change: str) -> None:
    name = postgres.database()
    _append(postgres.url(name))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        postgres.run(change, name, role)


def test_an_owner_who_takes_the_protection_away_is_found(postgres: PostgresServer) -> None:
    name = postgres.database()
    _append(postgres.url(name))
    postgres.run("ALTER TABLE aisecops.event DISABLE TRIGGER ALL", name)
    postgres.run("UPDATE aisecops.event SET body = body || ' ' WHERE idx = 2", name)

    async def verified() -> int | None:
        log = await asyncio.to_thread(open_log, postgres.url(name))
        try:
            assert log.sealed
            return (await log.verify()).bad_index
        finally:
            await log.close()

    assert asyncio.run(verified()) == 2


TABLES = "event, payload, document, decision, trace, trace_block, term, trace_posting, agent_activity, subtree"


@pytest.mark.parametrize("grown", [0, 1, 2, 3])
def test_a_database_that_is_set_back_under_a_replica_seals_it(postgres: PostgresServer, grown: int) -> None:
    """Whatever others append after that: fewer events than were there, as many, or more."""
    name = postgres.database()

    async def set_back() -> str:
        log, records = await asyncio.to_thread(open_log, postgres.url(name)), Records(prefix="before")
        try:
            for _ in range(2):
                await log.append(records.record())
            for table in ("event", "subtree", "log_head"):
                await asyncio.to_thread(postgres.run, f"ALTER TABLE aisecops.{table} DISABLE TRIGGER ALL", name)
            listed = ", ".join(f"aisecops.{table.strip()}" for table in TABLES.split(","))
            await asyncio.to_thread(postgres.run, f"TRUNCATE {listed}", name)
            await asyncio.to_thread(postgres.run, "UPDATE aisecops.log_head SET size = 0, peaks = ''", name)
            for table in ("event", "subtree", "log_head"):
                await asyncio.to_thread(postgres.run, f"ALTER TABLE aisecops.{table} ENABLE TRIGGER ALL", name)
            other, after = await asyncio.to_thread(open_log, postgres.url(name)), Records(prefix="after")
            for _ in range(grown):
                await other.append(after.record())
            await other.close()
            with pytest.raises(LogUnavailableError):
                await log.append(records.record())
            return log.sealed
        finally:
            await log.close()

    assert "set back" in asyncio.run(set_back())


def test_a_transaction_that_the_server_took_back_is_not_taken_for_committed(postgres: PostgresServer) -> None:
    connection = PostgresConnection(postgres.url(postgres.database()))
    with contextlib.closing(connection):
        connection.begin()
        with pytest.raises(apsw.SQLError):
            connection.execute("SELECT nothing_of_that_name FROM event")
        with pytest.raises(apsw.AbortError, match="ROLLBACK"):
            connection.execute("COMMIT")


def test_the_first_append_after_the_server_was_started_anew_is_taken(own_server: PostgresServer) -> None:
    url = own_server.url(own_server.database())

    async def across() -> list[int]:
        log, records = await asyncio.to_thread(open_log, url), Records()
        try:
            before = await log.append(records.record())
            await asyncio.to_thread(own_server.stop)
            await asyncio.to_thread(own_server.start)
            return [before.log_index, (await log.append(records.record())).log_index]
        finally:
            await log.close()

    first, second = asyncio.run(across())
    assert second > first


def test_a_database_that_is_made_twice_at_once_is_made_once(postgres: PostgresServer) -> None:
    url = postgres.url(postgres.empty_database(), "administrator")
    script = (
        "import sys\n"
        "from aisecops_server.adapters.postgres import server\n"
        "from aisecops_server.adapters.postgres.connection import PostgresConnection\n"
        "print(server.migrate(PostgresConnection(sys.argv[1])))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in started)
    assert said == sorted(["[]", "[]", str([step.version for step in server.migrations()])])


def test_what_was_acknowledged_outlives_the_server_and_replicas_go_on(own_server: PostgresServer) -> None:
    """The server is killed again and again while two replicas append; nothing that was acknowledged is lost."""
    url = own_server.url(own_server.database())
    acknowledged: list[Receipt] = []
    refused: list[LogUnavailableError] = []

    async def appending(prefix: str, over: asyncio.Event) -> None:
        log, records = await asyncio.to_thread(open_log, url), Records(prefix=prefix)
        try:
            while not over.is_set():
                try:
                    acknowledged.append(await log.append(records.record()))
                except LogUnavailableError as error:
                    refused.append(error)
                    assert log.sealed == ""
        finally:
            await log.close()

    async def killing() -> None:
        over = asyncio.Event()
        clients = [asyncio.ensure_future(appending(prefix, over)) for prefix in "ab"]
        for _ in range(3):
            await _more(acknowledged, 20, clients)
            await asyncio.to_thread(own_server.kill)
            await _more(refused, 1, clients)
            await asyncio.to_thread(own_server.start)
        await _more(acknowledged, 20, clients)
        over.set()
        await asyncio.gather(*clients)

    async def checked() -> None:
        log = await asyncio.to_thread(open_log, url)
        try:
            stored = [event async for event in log.events(from_index=0, follow=False, trace_id="")]
            assert [event.index for event in stored] == list(range(len(stored)))
            known = {(event.event.id, event.index, event.leaf_hash) for event in stored}
            assert not [receipt for receipt in acknowledged if _told(receipt) not in known]
            assert (await log.verify()).problem == ""
        finally:
            await log.close()

    asyncio.run(killing())
    asyncio.run(checked())


def _told(receipt: Receipt) -> tuple[str, int, bytes]:
    return (receipt.event_id, receipt.log_index, receipt.leaf_hash)


async def _more(answers: list[Any], count: int, clients: list[asyncio.Future[None]]) -> None:
    wanted = len(answers) + count
    async with asyncio.timeout(120):
        while len(answers) < wanted:
            for client in clients:
                if client.done():
                    client.result()
            await asyncio.sleep(0.01)


def _append(url: str) -> None:
    """Append a decision, which fails unless the log can be opened."""

    async def append() -> None:
        log = await asyncio.to_thread(open_log, url)
        try:
            await log.append(Records().record())
        finally:
            await log.close()

    asyncio.run(append())
