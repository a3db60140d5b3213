"""At an edge: what the centre released to it, how old that is, and what of the log the centre has.

Owns one small database beside the audit log. A release is kept as it was signed and is verified again when it is read;
the highest counter is kept apart from the releases, so that it outlives them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from aisecops_server.adapters.sqlite.database import migrate, open_for_reading, open_for_writing, translated
from aisecops_server.domain.bundles.release import Mark, SignedRelease
from aisecops_server.domain.edges.policy_age import Instant, Reckoning
from aisecops_server.domain.log.record import LogHead
from aisecops_server.ports.edges import EdgeReport, KeptRelease

# "AISF"
_APPLICATION_ID = 0x41495346
# The live one, the one before it, and some that never came to be live.
_MOST_RELEASES = 8
T = TypeVar("T")

_MIGRATIONS = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE release (
        digest     TEXT PRIMARY KEY,
        counter    INTEGER NOT NULL,
        body       BLOB NOT NULL,
        signature  BLOB NOT NULL,
        wall_at    INTEGER NOT NULL,
        counted    INTEGER NOT NULL,
        sound      INTEGER NOT NULL CHECK (sound IN (0, 1))
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE mark (id INTEGER PRIMARY KEY CHECK (id = 1), counter INTEGER NOT NULL, digest TEXT NOT NULL) STRICT;
    CREATE TABLE acknowledged (id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root BLOB NOT NULL) STRICT;
    CREATE TABLE problem (about TEXT PRIMARY KEY, said TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
)

_RELEASES = "SELECT digest, body, signature, wall_at, counted, sound FROM release ORDER BY counter DESC"
_KEEP = "INSERT OR REPLACE INTO release VALUES (?, ?, ?, ?, ?, ?, ?)"
_PRUNE = "DELETE FROM release WHERE digest NOT IN (SELECT digest FROM release ORDER BY counter DESC LIMIT ?)"


class SqliteFeedStore:
    """Implements ``FeedStore``."""

    def __init__(self, path: Path) -> None:
        """Open the database at ``path``, making it when it is not there.

        Raises:
            IntegrityError: the file is damaged.
            LogUnavailableError: it cannot be opened, or a newer version wrote it.
        """
        self._connection = open_for_writing(path)
        # Policy and log are followed at once, each by threads of its own.
        self._turn = threading.Lock()
        migrate(self._connection, _MIGRATIONS, application_id=_APPLICATION_ID)

    async def releases(self) -> list[KeptRelease]:
        """Return what was kept, the newest release first."""
        return await self._run(_releases)

    async def mark(self) -> Mark:
        """Return the highest counter that was ever accepted, and of which bundle; 0 before that."""
        return await self._run(_mark)

    async def keep(self, kept: KeptRelease, mark: Mark) -> None:
        """Keep a release in place of an earlier one of the same bundle, and move the mark, both or neither."""
        await self._run(lambda connection: _keep(connection, kept, mark))

    async def note(self, digest: str, reckoning: Reckoning) -> None:
        """Keep how much time was counted since a bundle was confirmed."""
        await self._run(lambda connection: _note(connection, digest, reckoning))

    async def acknowledge(self, head: LogHead) -> None:
        """Keep what the centre acknowledged of the log."""
        await self._run(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO acknowledged VALUES (1, ?, ?)", (head.size, head.root)
            )
        )

    async def tell(self, about: str, problem: str) -> None:
        """Keep what is wrong with something, for people who look; an empty text takes it back."""
        await self._run(
            lambda connection: connection.execute("INSERT OR REPLACE INTO problem VALUES (?, ?)", (about, problem))
        )

    def close(self) -> None:
        """Close the database."""
        with translated("closing it"):
            self._connection.close()

    async def _run(self, work: Callable[[apsw.Connection], T]) -> T:
        return await asyncio.to_thread(self._done, work)

    def _done(self, work: Callable[[apsw.Connection], T]) -> T:
        with self._turn, translated("keeping what the centre said"), self._connection:
            found = work(self._connection)
        return found  # noqa: RET504 - mypy takes a return inside for one that may be swallowed


def edge_report(path: Path) -> EdgeReport:
    """Return what an edge's database tells, read beside a running edge or without one.

    Raises:
        LogUnavailableError: it cannot be read.
    """
    with contextlib.closing(open_for_reading(path)) as connection, translated("reading what the centre said"):
        size = connection.execute("SELECT size FROM acknowledged").get or 0
        rows = connection.execute("SELECT about, said FROM problem WHERE said <> '' ORDER BY about").fetchall()
        releases, mark = tuple(_releases(connection)), _mark(connection)
    return EdgeReport(releases, mark, size, {str(about): str(said) for about, said in rows})


def _releases(connection: apsw.Connection) -> list[KeptRelease]:
    return [
        KeptRelease(digest, SignedRelease(body, signature), Reckoning(Instant(wall_at, None), counted, bool(sound)))
        for digest, body, signature, wall_at, counted, sound in connection.execute(_RELEASES)
    ]


def _mark(connection: apsw.Connection) -> Mark:
    row = connection.execute("SELECT counter, digest FROM mark").get
    return Mark(*row) if row else Mark()


def _keep(connection: apsw.Connection, kept: KeptRelease, mark: Mark) -> None:
    reckoning = kept.reckoning
    facts = (kept.digest, mark.counter, kept.signed.body, kept.signed.signature)
    connection.execute(_KEEP, (*facts, reckoning.at.wall_ns, reckoning.counted_ns, int(reckoning.sound)))
    connection.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?)", (mark.counter, mark.digest))
    connection.execute(_PRUNE, (_MOST_RELEASES,))


def _note(connection: apsw.Connection, digest: str, reckoning: Reckoning) -> None:
    connection.execute(
        "UPDATE release SET wall_at = ?, counted = ?, sound = ? WHERE digest = ?",
        (reckoning.at.wall_ns, reckoning.counted_ns, int(reckoning.sound), digest),
    )
