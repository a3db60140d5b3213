"""The connection of a replica to its database breaks at any message of a commit: nothing acknowledged is lost.

The check is tried itself: on a replica that believes in a commit of which it heard nothing, and on one log in two
places.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import apsw
import pytest
from aisecops_server.adapters.postgres.connection import SHORT, PostgresConnection
from aisecops_server.adapters.postgres.event_log import PostgresEventLog, open_log
from aisecops_server.adapters.postgres.readers import PostgresReaders
from aisecops_server.adapters.postgres.writer import PostgresAppender, PostgresWriter, Watch
from aisecops_server.adapters.sqlite.append import Appender, Result
from aisecops_server.adapters.sqlite.approval_table import ApprovalTable
from aisecops_server.adapters.sqlite.changes import StateTables
from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.domain.log.record import Receipt

from tests.fault.network import Link, link_to
from tests.fault.rounds import rounds
from tests.scenes.log.records import Records
from tests.scenes.servers.postgres_servers import PostgresServer, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]
# More messages than a commit takes on a new connection, so that each of them is where it breaks once.
MESSAGES = 50
Cut = Callable[[], None]


class CutAppender(PostgresAppender):
    """Calls ``cut`` right before it asks for a commit."""

    cut: Cut

    def _end(self, results: Sequence[Result]) -> None:
        self.cut()
        super()._end(results)


class TrustingAppender(CutAppender):
    """Broken on purpose: takes a commit of which no answer came for one that was made."""

    def _end(self, results: Sequence[Result]) -> None:
        with contextlib.suppress(apsw.IOError):
            super()._end(results)


class CutWriter(PostgresWriter):
    """A writer with such an appender."""

    def __init__(self, url: str, kind: type[CutAppender], cut: Cut) -> None:
        self._kind, self._cut = kind, cut
        super().__init__(PostgresConnection(url), StateTables({}), watch=Watch(url))

    def _appender(self) -> Appender:
        made = self._kind(self._server, self._state)
        made.cut = self._cut
        return made


def open_cut(url: str, kind: type[CutAppender], cut: Cut) -> PostgresEventLog:
    """Open a log whose connection breaks at its commits."""
    return PostgresEventLog(PostgresReaders(url), CutWriter(url, kind, cut), approvals=ApprovalTable())


@contextlib.asynccontextmanager
async def opened(url: str, open_one: Callable[[str], PostgresEventLog] = open_log) -> AsyncIterator[PostgresEventLog]:
    log = await asyncio.to_thread(open_one, url)
    try:
        yield log
    finally:
        await log.close()


async def wrong(url: str, acknowledged: Sequence[Receipt]) -> list[str]:
    """Return what is wrong with the log at ``url``, given what it acknowledged: gaps, losses, what does not verify."""
    async with opened(url) as log:
        stored = [event async for event in log.events(from_index=0, follow=False, trace_id="")]
        known = {(event.event.id, event.index, event.leaf_hash) for event in stored}
        lost = [one for one in acknowledged if (one.event_id, one.log_index, one.leaf_hash) not in known]
        found = [f"event {one.log_index} was acknowledged and is not there" for one in lost]
        if [event.index for event in stored] != list(range(len(stored))):
            found.append("an index is missing or twice")
        problem = (await log.verify()).problem
        return [*found, *([problem] if problem else [])]


async def acknowledged_over(link: Link, url: str, there: str, cuts: Sequence[int]) -> list[Receipt]:
    """Append over a link that breaks after so many messages, and beside it at another replica."""
    found: list[Receipt] = []
    async with opened(url) as here, opened(there) as other:
        records, others = Records(prefix="a"), Records(prefix="b")
        for messages in cuts:
            link.break_after(messages)
            answers = await asyncio.gather(
                *(here.append(records.record()) for _ in range(3)),
                *(other.append(others.record()) for _ in range(3)),
                return_exceptions=True,
            )
            link.heal()
            assert {type(answer) for answer in answers} <= {Receipt, LogUnavailableError}
            found += [answer for answer in answers if isinstance(answer, Receipt)]
            # Nothing is started anew: the next one is taken.
            found.append(await here.append(records.record()))
    return found


@pytest.fixture
def link(postgres: PostgresServer) -> Iterator[Link]:
    with link_to(postgres.socket) as made:
        yield made


def over(link: Link, database: str) -> str:
    """Return the address of a database as it is seen over the link."""
    return f"postgresql://replica@127.0.0.1:{link.port}/{database}?sslmode=disable"


async def test_a_connection_that_breaks_at_any_message_of_a_commit_loses_nothing(
    postgres: PostgresServer, link: Link
) -> None:
    database = await asyncio.to_thread(postgres.database)
    cuts = list(range(1, MESSAGES + 1, rounds(3, of_many=1))) * rounds(1, of_many=5)
    found = await acknowledged_over(link, over(link, database), postgres.url(database), cuts)
    assert len(found) > len(cuts) * 4
    assert await wrong(postgres.url(database), found) == []


async def cut_at_commits(
    link: Link, database: str, kind: type[CutAppender], at: Sequence[int]
) -> tuple[list[Receipt], str]:
    """Append over a link that breaks so many messages after each commit was asked for, and once when all is well.

    Return what was acknowledged, and why the log is sealed, which ends it, or an empty string.
    """
    left = list(at)

    def cut() -> None:
        if left:
            link.break_after(left.pop())

    found: list[Receipt] = []
    async with opened(over(link, database), lambda url: open_cut(url, kind, cut)) as log:
        records, is_well = Records(), False
        while not (log.sealed or is_well):
            is_well = not left
            with contextlib.suppress(LogUnavailableError):
                found.append(await log.append(records.record()))
            link.heal()
        return found, log.sealed


async def test_a_commit_that_nobody_answers_is_looked_for_and_seals_nothing(
    postgres: PostgresServer, link: Link
) -> None:
    database = await asyncio.to_thread(postgres.database)
    # Lost on its way to the server and on its way back, by turns: what one takes that was never asked for before, with
    # all that it writes.
    found, sealed = await cut_at_commits(link, database, CutAppender, range(1, 17))
    assert sealed == ""
    assert len(found) >= 3
    assert await wrong(postgres.url(database), found) == []


async def test_a_replica_that_takes_no_answer_for_a_commit_is_found_to_lose(
    postgres: PostgresServer, link: Link
) -> None:
    database = await asyncio.to_thread(postgres.database)
    found, sealed = await cut_at_commits(link, database, TrustingAppender, [1])
    assert "set back" in sealed
    assert any("was acknowledged and is not there" in said for said in await wrong(postgres.url(database), found))


async def test_two_places_that_both_go_on_with_one_log_are_found(postgres: PostgresServer) -> None:
    database = await asyncio.to_thread(postgres.database)
    before = await appended(postgres.url(database), "a")
    copy = await asyncio.to_thread(postgres.copy, database)
    ours, theirs = await appended(postgres.url(database), "b"), await appended(postgres.url(copy), "c")
    assert await wrong(postgres.url(database), [*before, *ours]) == []
    found = await wrong(postgres.url(database), [*before, *ours, *theirs])
    assert found == [f"event {receipt.log_index} was acknowledged and is not there" for receipt in theirs]


async def appended(url: str, prefix: str) -> list[Receipt]:
    records = Records(prefix=prefix)
    async with opened(url) as log:
        return [await log.append(records.record()) for _ in range(3)]


# Half of what a statement is asked by: the server waits for the rest, and takes the session for one that works.
_PARSE = b"P" + struct.pack("!I", 4 + 1 + 9 + 2) + b"\0SELECT 1\0" + b"\0\0"


def vanished(url: str) -> PostgresConnection:
    """Return a replica that took the head of the log, and went silent in the middle of what it said next."""
    silent = PostgresConnection(url, patience=SHORT)
    silent.begin()
    assert silent.execute("SELECT size FROM log_head FOR UPDATE").get is not None
    silent._connection._transport.write(_PARSE)
    return silent


async def test_a_replica_that_vanished_in_the_middle_of_a_word_holds_nobody_up_for_long(
    postgres: PostgresServer,
) -> None:
    url = postgres.url(await asyncio.to_thread(postgres.database))
    async with opened(url) as log:
        silent = await asyncio.to_thread(vanished, url)
        answers: list[object] = []
        async with asyncio.timeout(30):
            while not any(isinstance(answer, Receipt) for answer in answers):
                answers += await asyncio.gather(log.append(Records().record()), return_exceptions=True)
    await asyncio.to_thread(silent.close)
    assert {type(answer) for answer in answers} <= {Receipt, LogUnavailableError}
    assert len(answers) <= 3


async def test_a_replica_that_works_is_not_taken_for_one_that_vanished(postgres: PostgresServer) -> None:
    url = postgres.url(await asyncio.to_thread(postgres.database))
    slow = await asyncio.to_thread(PostgresConnection, url)
    try:
        async with opened(url) as log:
            await asyncio.to_thread(slow.begin)
            await asyncio.to_thread(slow.execute, "SELECT size FROM log_head FOR UPDATE")
            working = asyncio.create_task(asyncio.to_thread(slow.execute, "SELECT pg_sleep(12)"))
            refused = await asyncio.gather(*(log.append(Records().record()) for _ in range(3)), return_exceptions=True)
            assert {type(answer) for answer in refused} == {LogUnavailableError}
            await working
            await asyncio.to_thread(slow.execute, "COMMIT")
            assert isinstance(await log.append(Records().record()), Receipt)
    finally:
        await asyncio.to_thread(slow.close)
