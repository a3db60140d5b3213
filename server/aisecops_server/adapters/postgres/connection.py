"""One connection to PostgreSQL that answers like the embedded store's: the tables of the store run on either.

Owns a loop of its own, so whoever uses it waits as for a file; one thread at a time may. What the server, the
network or the driver raise leaves as the embedded store's error of the same meaning: a broken condition is the fault
of one entry, a lost connection of none.

Ordering rules: after a lost connection nothing is answered before ``BEGIN`` has opened a new one, so no transaction
goes on where another was broken off. In a transaction that began with questions (``begin``) what only writes is
gathered and goes to the server with the next thing that has an answer, at the latest in one message with ``COMMIT``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import apsw
import asyncpg

from aisecops_server.adapters.postgres import doubt
from aisecops_server.adapters.postgres.dialect import conflict, insertion, insertion_of_rows, translated
from aisecops_server.adapters.postgres.envelope import carried
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.postgres.prepared import Prepared
from aisecops_server.adapters.postgres.together import Asked, asked_together, table_of, written_together
from aisecops_server.adapters.sqlite.statements import Question

R = TypeVar("R")
Row = tuple[Any, ...]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection is believed in, in seconds: until it is made, and until a statement is answered.

    Over a network an answer that is late is asked after meanwhile (``doubt``). After ``idle_seconds`` without a
    statement the server takes back the transaction of a client that went silent with a lock in its hands.
    """

    connect_seconds: float
    answer_seconds: float
    idle_seconds: int


# For work that people wait for, such as a migration.
WORK = Patience(10.0, 60.0, 15)
# For what decisions wait for. The server lets go of the head before others that wait for it take their connection for
# dead: a replica that is cut off with the head in its hands holds nobody up for longer.
SHORT = Patience(5.0, 5.0, 3)
# For what is read: a page of a list may be put together for longer between two statements.
READING = Patience(5.0, 5.0, 15)
_IDLE = "idle_in_transaction_session_timeout"
_SESSION = {
    "application_name": "aisecops",
    "lock_timeout": "30s",
    "timezone": "UTC",
    "jit": "off",
    # A client that the network lost is noticed by the server's machine within a quarter of a minute, not in two hours.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
    # The statements are few and their tables grow: a plan made once is as good as any, and planning is not free.
    "plan_cache_mode": "force_generic_plan",
}
# Whatever the server's default is: who held the head until now has changed what is read behind it.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_COLUMNS = """
    SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum),
        array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum), pg_backend_pid()
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') GROUP BY c.relname"""
_TYPES = {str: "text", int: "bigint", bytes: "bytea"}
_ONE = (asyncpg.IntegrityConstraintViolationError,)
_INPUT = (asyncpg.DataError, asyncpg.exceptions.DataError, asyncpg.CharacterNotInRepertoireError)
# What is wrong with a statement, so that the next one may be right; everything else ends the connection.
_REFUSED = (
    asyncpg.SyntaxOrAccessError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.RaiseError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)


class Found:
    """What a statement found, read as the embedded store's cursor is."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    @property
    def get(self) -> Any:
        """Return the first row, its only column where it has one, or ``None``."""
        if not self._rows:
            return None
        row = self._rows[0]
        return row[0] if len(row) == 1 else row

    def fetchall(self) -> list[Row]:
        """Return every row."""
        return self._rows

    def fetchone(self) -> Row | None:
        """Return the first row, or ``None``."""
        return self._rows[0] if self._rows else None

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows."""
        return iter(self._rows)


@dataclass(frozen=True, slots=True)
class _Made:
    """A connection, and what tables the server has."""

    connection: Any
    rows: Sequence[Any]

    def terminate(self) -> None:
        self.connection.terminate()


class PostgresConnection:
    """One connection. ``is_reader`` makes every ``with`` one snapshot that cannot write."""

    def __init__(
        self, where: Place | str, *, is_reader: bool = False, patience: Patience = WORK, keeps_plans: bool = False
    ) -> None:
        """Connect to the log at ``where``.

        ``keeps_plans`` is for who says few things again and again: the server reads and plans each once, where it is
        known that nobody stands in between who may hand the next statement to another session.

        Raises:
            apsw.CantOpenError: the server does not answer or refuses.
        """
        self.place = Place.of(where)
        self._is_reader = is_reader
        self._patience = patience
        self._loop = asyncio.new_event_loop()
        self._connection: Any = None
        self._columns: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._keeps_plans = keeps_plans
        self._is_direct = False
        self._prepared = Prepared()
        self._is_gathering = False
        self._gathered: dict[str, Asked] = {}
        self._foreseen: dict[str, tuple[Sequence[Any], list[Row]]] = {}
        self._changed = 0
        self._status = ""
        self._depth = 0
        self._is_doubted = False
        self._doubt: asyncio.Task[None] | None = None
        try:
            self.connect()
        except BaseException:
            self._loop.close()
            raise

    def connect(self) -> None:
        """Connect anew; what the old connection had not committed is gone.

        Raises:
            apsw.CantOpenError: the server does not answer or refuses.
        """
        self._drop()
        try:
            made = self._loop.run_until_complete(doubt.soonest(self._made))
        except Exception as error:
            raise apsw.CantOpenError(_said(error)) from error
        self._connection = made.connection
        self._columns = {name: (tuple(columns), tuple(types)) for name, columns, types, _ in made.rows}
        # Who stands between us and the server, and numbers its sessions anew, cannot be asked about one.
        self._is_direct = {pid for *_, pid in made.rows} == {made.connection.get_server_pid()}
        self._is_doubted = self._is_direct and doubt.can_be_doubted(made.connection)

    async def _made(self) -> _Made:
        connection = await self._connected()
        try:
            return _Made(connection, await connection.fetch(_COLUMNS, self.place.schema))
        except BaseException:
            connection.terminate()
            raise

    async def _connected(self) -> Any:
        return await asyncpg.connect(
            self.place.url,
            user=self.place.role or None,
            timeout=self._patience.connect_seconds,
            command_timeout=self._patience.answer_seconds,
            server_settings=_SESSION | self._own(),
            statement_cache_size=0,
        )

    def _own(self) -> dict[str, str]:
        own = {
            # The server's own functions come first where they are not named: nothing in the schema stands in for one.
            "search_path": self.place.schema,
            _IDLE: f"{self._patience.idle_seconds}s",
        }
        if self._is_reader:
            # What nobody waits for any more is not worked on. Never for who writes: a COMMIT that is cancelled while it
            # waits for a standby has taken place.
            own["statement_timeout"] = f"{self._patience.answer_seconds:.0f}s"
        return own

    @property
    def is_lost(self) -> bool:
        """Return whether the server has to be connected to anew."""
        return self._connection is None or self._connection.is_closed()

    def execute(self, sql: str, bindings: Sequence[Any] | Mapping[str, Any] = ()) -> Found:
        """Run one statement and return what it found."""
        if sql.startswith("PRAGMA integrity_check"):
            # The server keeps its own look-ups; its administrator checks them with amcheck.
            return Found([("ok",)])
        if sql in ("COMMIT", "ROLLBACK"):
            return self._end(sql)
        asked = self._asked(sql, bindings)
        return self._run(asked.text, asked.values)

    def write(self, sql: str, bindings: Sequence[Any]) -> None:
        """Run one statement that has no answer."""
        self._write(self._asked(sql, bindings))

    def _asked(self, sql: str, bindings: Sequence[Any] | Mapping[str, Any]) -> Asked:
        plain, table, alternative = insertion(sql)
        if alternative == "IGNORE":
            plain += " ON CONFLICT DO NOTHING"
        elif alternative == "REPLACE":
            given = plain.count(",", plain.index("VALUES")) + 1
            plain += conflict(table, self._columns[table][0][:given])
        statement = translated(plain)
        values = [bindings[name] for name in statement.names] if isinstance(bindings, Mapping) else list(bindings)
        return Asked(statement.text, values)

    def begin(self, hold: str = "", questions: Sequence[Question] = ()) -> None:
        """Begin a transaction, on a new connection where the one of before is lost.

        With ``hold``, a statement whose answer nobody needs, that is run first, and the ``questions`` behind it, all in
        one message. They are answered when they are asked in this transaction, before anything is written in it.

        Raises:
            apsw.CantOpenError, apsw.IOError: the server is away.
        """
        if self.is_lost:
            self.connect()
        if not hold:
            self._begin("BEGIN")
            return
        asked = [self._foreseeing(question) for question in questions]
        try:
            self._foresee(hold, asked)
        except apsw.IOError as error:
            if isinstance(error.__cause__, TimeoutError | asyncpg.LockNotAvailableError):
                raise
            # The server was started anew since the connection was used last; nothing has begun on it.
            self.connect()
            self._foresee(hold, asked)

    def _foreseeing(self, question: Question) -> Asked:
        if question.keys:
            return self._selecting(question.query, question.keys)
        return self._asked(question.query, question.bindings)

    def _foresee(self, hold: str, asked: Sequence[Asked]) -> None:
        one = asked_together(asked)
        [row] = self._translated(self._fetch(one.text, one.values, before=f"{_BEGIN}; {hold}"))
        self._foreseen = {of.text: (of.values, found) for of, found in zip(asked, row, strict=True)}
        self._is_gathering = True

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of ``rows``."""
        for row in rows:
            self.execute(sql, row)

    def script(self, sql: str) -> None:
        """Run statements without bindings in one message."""
        self._settle()
        self._translated(self._script(sql))

    def insert_rows(self, head: str, rows: Sequence[Row], tail: str) -> None:
        """Run ``head`` (``INSERT INTO table``) for all ``rows`` in one message."""
        if not rows:
            return
        _, table, _ = insertion(head)
        columns, types = self._columns[table]
        text = insertion_of_rows(head, len(rows[0]), tail, columns=columns, types=types)
        self._write(Asked(text, _in_columns(rows)))

    def select_rows(self, query: str, keys: Sequence[Row]) -> Iterator[Row]:
        """Yield what ``query``, which ends in ``IN``, finds for any of ``keys``."""
        if not keys:
            return
        asked = self._selecting(query, keys)
        yield from self._run(asked.text, asked.values)

    def _selecting(self, query: str, keys: Sequence[Row]) -> Asked:
        arrays = [f"${at}::{_TYPES[type(value)]}[]" for at, value in enumerate(keys[0], 1)]
        if len(arrays) == 1:
            text = f"{query.rstrip().removesuffix('IN')} = ANY({arrays[0]})"
        else:
            text = f"{query} (SELECT * FROM unnest({', '.join(arrays)}))"  # noqa: S608 - constant parts
        return Asked(translated(text).text, _in_columns(keys))

    def columns(self, table: str) -> tuple[str, ...]:
        """Return the columns of a table, in order."""
        return self._columns[table][0]

    def changes(self) -> int:
        """Return how many rows the last statement changed."""
        return self._changed

    def close(self) -> None:
        """Close the connection."""
        self._drop()
        if not self._loop.is_closed():
            self._loop.close()

    def __enter__(self) -> Self:
        """Begin a transaction, or go on in the one that was begun."""
        if self.is_lost:
            self.connect()
        self._depth += 1
        if self._depth == 1:
            kind = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if self._is_reader else "BEGIN"
            try:
                self._begin(kind)
            except BaseException:
                self._depth = 0
                raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Commit what was begun here, or take it back after an error."""
        self._depth -= 1
        if self._depth == 0:
            if error is None:
                self.execute("COMMIT")
            else:
                with contextlib.suppress(apsw.Error):
                    self.script("ROLLBACK")

    def _begin(self, kind: str) -> None:
        try:
            self.script(kind)
        except apsw.IOError:
            # The server was started anew since the connection was used last; nothing has begun on it.
            depth = self._depth
            self.connect()
            self._depth = max(depth, 1)
            self.script(kind)

    def _run(self, text: str, values: Sequence[Any]) -> Found:
        foreseen = self._foreseen.pop(text, None)
        if foreseen and foreseen[0] == values:
            return Found(foreseen[1])
        self._settle()
        if not text.lstrip().startswith("SELECT"):
            self._foreseen.clear()
        return Found(self._translated(self._fetch(text, values)))

    def _write(self, asked: Asked) -> None:
        table = table_of(asked.text)
        if not self._is_gathering or not table:
            self._run(asked.text, asked.values)
            return
        if table in self._gathered:
            self._settle()
        # What was foreseen may be otherwise after it.
        self._foreseen.clear()
        self._gathered[table] = asked

    def _settle(self) -> None:
        """Write what was gathered."""
        if gathered := self._taken():
            self._translated(self._fetch(gathered.text, gathered.values))

    def _taken(self) -> Asked | None:
        gathered, self._gathered = self._gathered, {}
        return written_together(list(gathered.values())) if gathered else None

    def _end(self, sql: str) -> Found:
        """End the transaction; what was gathered goes with its ``COMMIT``."""
        gathered = self._taken()
        self._is_gathering = False
        self._foreseen.clear()
        if gathered and sql == "COMMIT":
            self._translated(self._fetch(gathered.text, gathered.values, after=sql))
        else:
            self._translated(self._fetch(sql, ()))
        if sql == "COMMIT" and self._status != "COMMIT":
            # The server takes a transaction back in which anything failed, and calls that no error.
            raise apsw.AbortError(f"the transaction was not committed ({self._status})")
        return Found([])

    async def _fetch(self, text: str, values: Sequence[Any], *, before: str = "", after: str = "") -> list[Row]:
        is_kept = self._keeps_plans and self._is_direct
        prepared = await self._prepared.statement(self._connection, text, is_kept=is_kept)
        if before or after:
            seconds = self._patience.answer_seconds
            rows, self._status = await carried(
                self._connection, prepared.fetch(*values), before=before, after=after, seconds=seconds
            )
        else:
            rows = await prepared.fetch(*values)
            self._status = prepared.get_statusmsg()
        last = self._status.rpartition(" ")[2]
        self._changed = int(last) if last.isdecimal() else 0
        return [tuple(row.values()) for row in rows]

    def forget_plans(self) -> None:
        """Have every statement planned anew."""
        self._prepared.forget()

    async def _script(self, sql: str) -> list[Any]:
        await self._connection.execute(sql)
        return []

    def _translated(self, work: Coroutine[Any, Any, list[Any]]) -> list[Any]:
        if self.is_lost:
            work.close()
            raise apsw.IOError("the connection to the database is lost")
        late = self._loop.call_later(doubt.LATE_SECONDS, self._ask_after) if self._is_doubted else None
        try:
            return self._loop.run_until_complete(work)
        except _ONE as error:
            raise apsw.ConstraintError(_said(error)) from error
        except _INPUT as error:
            raise apsw.MismatchError(_said(error)) from error
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, _REFUSED) and not isinstance(error, asyncpg.LockNotAvailableError):
                raise apsw.SQLError(_said(error)) from error
            # Also what the driver says of itself when the server is gone in the middle of an answer, and who waited
            # too long for another replica.
            self._drop()
            raise apsw.IOError(_said(error)) from error
        finally:
            self._end_doubt(late)

    def _ask_after(self) -> None:
        self._doubt = self._loop.create_task(self._give_up_when_silent(self._connection))

    async def _give_up_when_silent(self, connection: Any) -> None:
        await doubt.until_silent(connection, self._connected)
        _logger.warning("a connection to the database went silent and was given up: its session waits to be asked")
        connection.terminate()

    def _end_doubt(self, late: asyncio.TimerHandle | None) -> None:
        if late:
            late.cancel()
        asking, self._doubt = self._doubt, None
        if asking:
            asking.cancel()
            self._loop.run_until_complete(asyncio.wait({asking}))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._prepared.forget()
        self._is_gathering = False
        self._gathered.clear()
        self._foreseen.clear()
        self._depth = 0
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.terminate()
                _once_around(self._loop)


def _once_around(loop: asyncio.AbstractEventLoop) -> None:
    """Let ``loop`` close what was let go of, also where this thread runs another loop."""
    turn = threading.Thread(target=lambda: loop.run_until_complete(asyncio.sleep(0)))
    turn.start()
    turn.join()


def _in_columns(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
