"""What replays found, in a database of its own: conclusions by what they follow from, parts by what they compare.

Everything here can be computed again, so commits need not reach the disk at once, and when the file has grown too
large what is oldest goes. One thread owns the connection; every method is one transaction on it. Several processes
may use one file.
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import apsw
import orjson

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing, translated
from aisecops_server.adapters.sqlite.statements import Row, insert, select_in
from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.replays.replay import Phase, Progress, ReplayId, ReplayRecord, ReplayState

# "AISP": tells the file from the audit database.
APPLICATION_ID = 0x41495350
MIGRATIONS = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE verdict (key BLOB PRIMARY KEY, conclusion BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE conclusion (digest BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE part (key TEXT PRIMARY KEY, sums BLOB NOT NULL, results BLOB NOT NULL) STRICT;
    CREATE TABLE replay (
        number      INTEGER PRIMARY KEY,
        replay_id   TEXT NOT NULL UNIQUE,
        state       TEXT NOT NULL,
        asked_by    TEXT NOT NULL,
        started_at  INTEGER NOT NULL,
        finished_at INTEGER NOT NULL,
        reason      TEXT NOT NULL,
        problem     TEXT NOT NULL,
        question    BLOB NOT NULL,
        progress    BLOB NOT NULL,
        early       BLOB,
        report      BLOB
    ) STRICT;
    CREATE TABLE replay_part (
        replay_id TEXT NOT NULL,
        number    INTEGER NOT NULL,
        key       TEXT NOT NULL,
        PRIMARY KEY (replay_id, number)
    ) STRICT, WITHOUT ROWID;
    """,
    "CREATE TABLE draft (name TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT",
)
MOST_BYTES = 2 * 1024**3
KEPT_REPLAYS = 500

_COLUMNS = "replay_id, state, asked_by, started_at, finished_at, reason, problem, question, progress, early, report"
T = TypeVar("T")


class SqliteReplayStore:
    """Implements ``ReplayStore``."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it when it is missing.

        Raises:
            LogUnavailableError: it cannot be opened.
            IntegrityError: it is damaged.
        """
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="replay-store")
        self._connection = self._thread.submit(_open, path).result()

    async def digests(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the digests of the conclusions that are known under ``keys``."""
        query = "SELECT key, conclusion FROM verdict WHERE key IN"
        return await self._run(lambda held: dict(_found(held, query, keys)))

    async def conclusions(self, digests: Sequence[bytes]) -> dict[bytes, Mapping[str, JsonValue]]:
        """Return conclusions by their digests, as far as they are kept."""
        query = "SELECT digest, body FROM conclusion WHERE digest IN"
        rows = await self._run(lambda held: list(_found(held, query, digests)))
        return {digest: orjson.loads(zlib.decompress(body)) for digest, body in rows}

    async def remember(
        self, digests: Mapping[bytes, bytes], conclusions: Mapping[bytes, Mapping[str, JsonValue]]
    ) -> None:
        """Keep the digests of conclusions under keys, and some conclusions under their digests."""
        packed = [(digest, _packed(canonical_bytes(body))) for digest, body in conclusions.items()]

        def store(held: apsw.Connection) -> None:
            insert(held, "INSERT OR REPLACE INTO verdict", sorted(digests.items()))
            insert(held, "INSERT OR IGNORE INTO conclusion", packed)

        await self._run(store)

    async def part(self, key: str) -> Mapping[str, JsonValue] | None:
        """Return the sums of a part of a replay that was done before."""
        found = await self._run(lambda held: held.execute("SELECT sums FROM part WHERE key = ?", (key,)).get)
        return _json(found)

    async def keep_part(
        self, key: str, *, sums: Mapping[str, JsonValue], results: Sequence[Mapping[str, JsonValue]]
    ) -> None:
        """Keep the sums of a part, and its results in full."""
        # Names of ours, texts and integers: sorted, that is canonical, and nobody has to look at each for it.
        row = (key, canonical_bytes(sums), _packed(orjson.dumps(results, option=orjson.OPT_SORT_KEYS)))
        await self._run(lambda held: held.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", row))

    async def list_parts(self, replay_id: ReplayId, keys: Sequence[str]) -> None:
        """Note which parts, in their order, a replay consists of."""

        def store(held: apsw.Connection) -> None:
            held.execute("DELETE FROM replay_part WHERE replay_id = ?", (replay_id,))
            rows = [(replay_id, number, key) for number, key in enumerate(keys)]
            insert(held, "INSERT INTO replay_part", rows)

        await self._run(store)

    async def results(self, replay_id: ReplayId, *, part: int) -> list[Mapping[str, JsonValue]] | None:
        """Return the results of one part of a replay, by its number; ``None`` when there are no more."""
        query = (
            "SELECT p.results FROM replay_part AS r JOIN part AS p ON p.key = r.key"
            " WHERE r.replay_id = ? AND r.number = ?"
        )
        found = await self._run(lambda held: held.execute(query, (replay_id, part)).get)
        return orjson.loads(zlib.decompress(found)) if isinstance(found, bytes) else None

    async def keep_draft(self, tree: PolicyTree) -> None:
        """Keep the files of a draft, under the name that its content has."""
        files = {path: base64.b64encode(content).decode("ascii") for path, content in tree.files.items()}
        row = (tree.commit, _packed(orjson.dumps({"files": files, "drafted": sorted(tree.drafted)})))
        await self._run(lambda held: held.execute("INSERT OR IGNORE INTO draft VALUES (?, ?)", row))

    async def draft(self, name: str) -> PolicyTree | None:
        """Return a draft by its name, if it is kept."""
        found = await self._run(lambda held: held.execute("SELECT body FROM draft WHERE name = ?", (name,)).get)
        if not isinstance(found, bytes):
            return None
        body = orjson.loads(zlib.decompress(found))
        files = {path: base64.b64decode(content) for path, content in body["files"].items()}
        return PolicyTree(CommitId(name), files, frozenset(body["drafted"]))

    async def save(self, record: ReplayRecord) -> None:
        """Keep how far a replay is."""
        query = (
            f"INSERT INTO replay ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constant columns
            " ON CONFLICT (replay_id) DO UPDATE SET state = excluded.state, asked_by = excluded.asked_by,"
            " started_at = excluded.started_at, finished_at = excluded.finished_at,"
            " reason = excluded.reason, problem = excluded.problem,"
            " progress = excluded.progress, early = excluded.early, report = excluded.report"
        )
        await self._run(lambda held: held.execute(query, _row(record)))

    async def load(self, replay_id: ReplayId) -> ReplayRecord | None:
        """Return a replay, if there is one of that id."""
        query = f"SELECT {_COLUMNS} FROM replay WHERE replay_id = ?"  # noqa: S608 - constant columns
        rows = await self._run(lambda held: held.execute(query, (replay_id,)).fetchall())
        return _record(rows[0]) if rows else None

    async def records(self, *, below: str, limit: int) -> list[ReplayRecord]:
        """Return replays, newest first, that stand in the list below the one with id ``below``."""
        top = "SELECT number FROM replay WHERE replay_id = ?" if below else "SELECT max(number) + 1 FROM replay"
        query = f"SELECT {_COLUMNS} FROM replay WHERE number < ({top}) ORDER BY number DESC LIMIT ?"  # noqa: S608
        rows = await self._run(lambda held: held.execute(query, (*([below] if below else []), limit)).fetchall())
        return [_record(row) for row in rows]

    async def close(self) -> None:
        """Finish and close."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[apsw.Connection], T]) -> T:
        def guarded() -> T:
            with translated("keeping what replays found"), self._connection:
                return work(self._connection)
            raise AssertionError("unreachable: what is translated is raised")

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)


def _open(path: Path) -> apsw.Connection:
    connection = open_for_writing(path)
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    # What a power cut takes is computed again.
    connection.pragma("synchronous", "normal")
    with translated("making room"), connection:
        _tidy(connection, path)
    return connection


def _tidy(connection: apsw.Connection, path: Path) -> None:
    """Forget the oldest replays, and everything that can be computed again when there is too much of it."""
    oldest = "SELECT max(number) - ? FROM replay"
    connection.execute(f"DELETE FROM replay WHERE number <= ({oldest})", (KEPT_REPLAYS,))  # noqa: S608 - constant
    connection.execute("DELETE FROM replay_part WHERE replay_id NOT IN (SELECT replay_id FROM replay)")
    if path.stat().st_size > MOST_BYTES:
        connection.execute("DELETE FROM verdict; DELETE FROM conclusion; DELETE FROM draft")
        connection.execute("DELETE FROM part WHERE key NOT IN (SELECT key FROM replay_part)")


def _found(connection: apsw.Connection, query: str, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return ((row[0], row[1]) for row in select_in(connection, query, [(key,) for key in keys]))


def _packed(body: bytes) -> bytes:
    return zlib.compress(body, 1)


def _row(record: ReplayRecord) -> Row:
    return (
        record.id,
        record.state.value,
        record.asked_by,
        record.started_at_ns,
        record.finished_at_ns,
        record.reason,
        record.problem,
        canonical_bytes(record.question),
        canonical_bytes(asdict(record.progress)),
        None if record.early is None else canonical_bytes(record.early),
        None if record.report is None else canonical_bytes(record.report),
    )


def _record(row: Row) -> ReplayRecord:
    replay_id, state, asked_by, started_at, finished_at, reason, problem, question, progress, early, report = row
    return ReplayRecord(
        id=ReplayId(replay_id),
        question=_json(question) or {},
        state=ReplayState(state),
        asked_by=asked_by,
        started_at_ns=started_at,
        finished_at_ns=finished_at,
        progress=_progress(orjson.loads(progress)),
        early=_json(early),
        report=_json(report),
        reason=reason,
        problem=problem,
    )


def _progress(fields: Mapping[str, Any]) -> Progress:
    return Progress(**{**fields, "phase": Phase(fields["phase"])})


def _json(body: bytes | None) -> Mapping[str, JsonValue] | None:
    found: Mapping[str, JsonValue] | None = None if body is None else orjson.loads(body)
    return found
