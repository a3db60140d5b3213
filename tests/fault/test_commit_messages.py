"""What a commit writes goes to the server in one message with its COMMIT: whatever becomes of that, it is found out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

import apsw
import pytest
from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.writer import PostgresAppender
from aisecops_server.adapters.sqlite.changes import StateTables
from aisecops_server.adapters.sqlite.statements import Question
from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.domain.log.record import Receipt

from tests.fault.network import BOTH, Link, link_to
from tests.fault.test_database_connections import opened, over, wrong
from tests.scenes.log.records import Records
from tests.scenes.planes.engines import until
from tests.scenes.servers.postgres_servers import PostgresServer, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]
HOLD = "SELECT size FROM log_head FOR UPDATE"
SIZE = Question("SELECT size FROM log_head")
KEEP = "INSERT INTO subtree VALUES (?, ?)"
KEPT = "SELECT count(*) FROM aisecops.subtree"
# A commit that takes its time: the server asks at its end whether all is well.
SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON aisecops.log_head DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow()"""
REFUSING = """
    CREATE FUNCTION refusing() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'not at the end' USING ERRCODE = 'integrity_constraint_violation'; END $$;
    CREATE CONSTRAINT TRIGGER refusing AFTER INSERT ON aisecops.subtree DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refusing()"""
SLEEPING = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = 'replica'"


@pytest.fixture
def link(postgres: PostgresServer) -> Iterator[Link]:
    with link_to(postgres.socket) as made:
        yield made


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def connection(postgres: PostgresServer, database: str) -> Iterator[PostgresConnection]:
    with contextlib.closing(PostgresConnection(postgres.url(database), keeps_plans=True)) as one:
        yield one


async def scripted(postgres: PostgresServer, database: str, script: str) -> None:
    """Run statements as the owner of the database."""

    def run() -> None:
        with contextlib.closing(PostgresConnection(postgres.url(database, "administrator"))) as owner:
            owner.script(script)

    await asyncio.to_thread(run)


def kept(postgres: PostgresServer, database: str) -> object:
    return postgres.run(KEPT, database)[0][0]


def writing(connection: PostgresConnection, *numbers: int) -> None:
    """Begin with the head in hand, and write; nothing of it is sent before the end."""
    connection.begin(HOLD, [SIZE])
    for number in numbers:
        connection.write(KEEP, (number, b"hash"))


async def test_a_commit_is_two_round_trips(link: Link, database: str) -> None:
    def committed() -> list[int]:
        connection = PostgresConnection(over(link, database), keeps_plans=True)
        with contextlib.closing(connection):
            appender, records, found = PostgresAppender(connection, StateTables({})), Records(), list[int]()
            for _ in range(8):
                before = link.messages
                appender.commit([records.record(key=f"k{before}"), records.record()])
                found.append(link.messages - before)
            return found

    # What goes and what comes, each in two parts at most. The first commits prepare their statements, and name what is
    # new.
    assert min(await asyncio.to_thread(committed)) <= 8


async def test_what_is_written_and_its_end_are_one_message(
    postgres: PostgresServer, connection: PostgresConnection, database: str
) -> None:
    def written() -> int:
        writing(connection, 1)
        assert connection.execute(SIZE.query).get == 0
        connection.execute("COMMIT")
        return int(connection.execute("SELECT count(*) FROM subtree").get)

    assert await asyncio.to_thread(written) == 1
    assert await asyncio.to_thread(kept, postgres, database) == 1


async def test_what_is_asked_after_something_was_written_sees_it(connection: PostgresConnection) -> None:
    def asked() -> list[object]:
        connection.begin(HOLD, [SIZE, Question("SELECT count(*) FROM subtree")])
        before = connection.execute("SELECT count(*) FROM subtree").get
        connection.begin(HOLD, [SIZE, Question("SELECT count(*) FROM subtree")])
        connection.write(KEEP, (1, b"hash"))
        after = connection.execute("SELECT count(*) FROM subtree").get
        connection.write("UPDATE log_head SET peaks = ?", (b"peak",))
        connection.write("UPDATE log_head SET peaks = ?", (b"later",))
        connection.execute("COMMIT")
        return [before, after, connection.execute("SELECT peaks FROM log_head").get]

    assert await asyncio.to_thread(asked) == [0, 1, b"later"]


async def test_what_is_taken_back_is_never_sent(
    postgres: PostgresServer, connection: PostgresConnection, database: str
) -> None:
    def taken_back() -> None:
        writing(connection, 1)
        connection.execute("ROLLBACK")
        writing(connection, 2)
        connection.execute("COMMIT")

    await asyncio.to_thread(taken_back)
    found = await asyncio.to_thread(postgres.run, "SELECT number FROM aisecops.subtree", database)
    assert found == [(2,)]


@pytest.mark.parametrize("numbers", [(1, 1), (2, 7)])
async def test_a_commit_of_what_cannot_be_written_says_so_and_writes_nothing(
    postgres: PostgresServer, connection: PostgresConnection, database: str, numbers: Sequence[int]
) -> None:
    await asyncio.to_thread(writing, connection, 7)
    await asyncio.to_thread(connection.execute, "COMMIT")

    def refused() -> None:
        with pytest.raises(apsw.ConstraintError):  # noqa: PT012 - where the second one is written is no matter
            writing(connection, *numbers)
            connection.execute("COMMIT")
        with contextlib.suppress(apsw.Error):
            connection.execute("ROLLBACK")

    await asyncio.to_thread(refused)
    assert await asyncio.to_thread(kept, postgres, database) == 1
    # The connection goes on, with nothing left over from what failed.
    await asyncio.to_thread(writing, connection, 8)
    await asyncio.to_thread(connection.execute, "COMMIT")
    assert await asyncio.to_thread(kept, postgres, database) == 2


async def test_what_the_driver_cannot_say_is_not_committed_without_it(
    postgres: PostgresServer, connection: PostgresConnection, database: str
) -> None:
    def refused() -> None:
        with pytest.raises(apsw.MismatchError):  # noqa: PT012 - the whole of it
            writing(connection, 1 << 70)
            connection.execute("COMMIT")
        connection.execute("ROLLBACK")

    await asyncio.to_thread(refused)
    assert await asyncio.to_thread(kept, postgres, database) == 0
    await asyncio.to_thread(writing, connection, 1)
    await asyncio.to_thread(connection.execute, "COMMIT")
    assert await asyncio.to_thread(kept, postgres, database) == 1


async def test_a_question_that_the_driver_cannot_ask_begins_nothing_that_cannot_be_ended(
    connection: PostgresConnection,
) -> None:
    def asked() -> object:
        with pytest.raises(apsw.MismatchError):
            connection.begin(HOLD, [SIZE, Question("SELECT hash FROM subtree WHERE number = ?", (1 << 70,))])
        connection.execute("ROLLBACK")
        connection.begin(HOLD, [SIZE])
        return connection.execute(SIZE.query).get

    assert await asyncio.to_thread(asked) == 0


async def test_a_commit_that_the_server_refuses_at_its_end_is_none(
    postgres: PostgresServer, connection: PostgresConnection, database: str
) -> None:
    await scripted(postgres, database, REFUSING)

    def refused() -> None:
        writing(connection, 1)
        with pytest.raises(apsw.ConstraintError, match="not at the end"):
            connection.execute("COMMIT")

    await asyncio.to_thread(refused)
    assert await asyncio.to_thread(kept, postgres, database) == 0


async def test_a_transaction_that_failed_before_is_not_taken_for_committed(
    postgres: PostgresServer, connection: PostgresConnection, database: str
) -> None:
    def failed() -> None:
        connection.begin(HOLD, [SIZE])
        with pytest.raises(apsw.SQLError):
            connection.execute("SELECT nothing_of_that_name FROM event")
        with pytest.raises(apsw.Error):  # noqa: PT012 - where the second one is written is no matter
            connection.write(KEEP, (1, b"hash"))
            connection.execute("COMMIT")

    await asyncio.to_thread(failed)
    assert await asyncio.to_thread(kept, postgres, database) == 0


async def test_a_commit_that_the_server_still_works_on_is_waited_for_and_not_refused(
    postgres: PostgresServer, link: Link, database: str
) -> None:
    await scripted(postgres, database, SLOW)
    async with opened(over(link, database)) as log:
        records = Records()
        appending = asyncio.create_task(log.append(records.record()))
        while not await asyncio.to_thread(postgres.run, SLEEPING):
            assert not appending.done()
        await asyncio.to_thread(link.cut)
        found = [await appending]
    assert await wrong(postgres.url(database), found) == []


async def test_a_commit_whose_bytes_are_lost_is_refused_and_comes_never(
    postgres: PostgresServer, link: Link, database: str
) -> None:
    async with opened(over(link, database)) as log:
        records = Records()
        before = await log.append(records.record())
        link.swallowed = BOTH
        appending = asyncio.create_task(log.append(records.record()))
        await until(lambda: link.is_silent)
        link.heal()
        outcome = (await asyncio.gather(appending, return_exceptions=True))[0]
        assert isinstance(outcome, LogUnavailableError | Receipt)
        after = await log.append(records.record())
    acknowledged = [before, after, *([outcome] if isinstance(outcome, Receipt) else [])]
    assert await wrong(postgres.url(database), acknowledged) == []


async def test_statements_are_kept_where_nobody_stands_in_between(link: Link, database: str) -> None:
    def kept_by(*, renumbering: bool) -> int:
        link.is_renumbering = renumbering
        with contextlib.closing(PostgresConnection(over(link, database), keeps_plans=True)) as one:
            for _ in range(2):
                one.execute("SELECT size FROM log_head")
            # The one that counts is one of them.
            return int(one.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'aisecops%'").get)

    assert await asyncio.to_thread(kept_by, renumbering=False) == 2
    assert await asyncio.to_thread(kept_by, renumbering=True) == 0


async def test_plans_that_were_forgotten_are_not_left_on_the_server(connection: PostgresConnection) -> None:
    def left() -> list[object]:
        count = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 1'"
        connection.execute("SELECT 1")
        before = connection.execute(count).get
        connection.forget_plans()
        connection.execute("SELECT 2")
        return [before, connection.execute(count).get]

    assert await asyncio.to_thread(left) == [1, 0]
