"""What was made live last, in a database of its own: one row, replaced whole, durable when ``save`` returns.

Beside it stands, a row for each channel, which announcement counted last; its number only grows.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing, translated
from aisecops_server.domain.bundles.announcement import Announced, Announcement
from aisecops_server.domain.bundles.bundle import Activated, BundleDigest, CommitId

# "AISA"
_APPLICATION_ID = 0x41495341

_MIGRATIONS = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE activation (
        id                INTEGER PRIMARY KEY CHECK (id = 1),
        live_revision     TEXT NOT NULL,
        live_digest       TEXT NOT NULL,
        previous_revision TEXT,
        previous_digest   TEXT,
        CHECK ((previous_revision IS NULL) = (previous_digest IS NULL))
    ) STRICT;
    """,
    """
    CREATE TABLE announcement (
        channel    TEXT PRIMARY KEY,
        counter    INTEGER NOT NULL CHECK (counter > 0),
        revision   TEXT NOT NULL,
        content    TEXT NOT NULL,
        issued_at  INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        digest     TEXT NOT NULL,
        key_id     TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER announcements_only_grow BEFORE UPDATE ON announcement
        WHEN NEW.counter <= OLD.counter OR NEW.channel <> OLD.channel
        BEGIN SELECT RAISE(ABORT, 'what a channel announces only moves forward'); END;
    """,
)
ANNOUNCED = "SELECT channel, revision, content, counter, issued_at, expires_at, digest, key_id FROM announcement"
# A row that counts already stays, unless what comes has a higher number.
ADVANCE = """
    INSERT INTO announcement (channel, revision, content, counter, issued_at, expires_at, digest, key_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (channel) DO UPDATE SET revision = excluded.revision, content = excluded.content,
        counter = excluded.counter, issued_at = excluded.issued_at, expires_at = excluded.expires_at,
        digest = excluded.digest, key_id = excluded.key_id
    WHERE excluded.counter > announcement.counter
    RETURNING counter"""


class ActivationState:
    """Implements ``ActivationStore`` and ``AnnouncementStore``."""

    def __init__(self, path: Path) -> None:
        """Open the database at ``path``, making it when it is not there.

        Raises:
            IntegrityError: the file is damaged.
            LogUnavailableError: it cannot be opened, or a newer version wrote it.
        """
        # Each is asked in a thread of its own, and a connection is for one at a time.
        self._turn = threading.Lock()
        self._connection = open_for_writing(path)
        migrate(self._connection, _MIGRATIONS, application_id=_APPLICATION_ID)

    async def load(self) -> tuple[Activated, Activated | None] | None:
        """Return what is live and what was live before; ``None`` before the first activation."""
        return await asyncio.to_thread(self._load)

    async def save(self, live: Activated, previous: Activated | None) -> None:
        """Replace both at once, durably."""
        await asyncio.to_thread(self._save, live, previous)

    async def announced(self, channel: str) -> Announced | None:
        """Return what counted last; ``None`` before the first."""
        return await asyncio.to_thread(self._announced, channel)

    async def every_announced(self) -> list[Announced]:
        """Return what counted last of every channel."""
        return await asyncio.to_thread(self._every_announced)

    async def advance(self, announced: Announced) -> bool:
        """Let an announcement count from now on, durably; return whether none with this or a higher number did."""
        return await asyncio.to_thread(self._advance, announced)

    def close(self) -> None:
        """Close the database."""
        with self._turn, translated("closing it"):
            self._connection.close()

    def _load(self) -> tuple[Activated, Activated | None] | None:
        with self._turn, translated("reading what is live"):
            row = self._connection.execute(
                "SELECT live_revision, live_digest, previous_revision, previous_digest FROM activation"
            ).get
        if row is None:
            return None
        return _activated(row[0], row[1]), None if row[2] is None else _activated(row[2], row[3])

    def _save(self, live: Activated, previous: Activated | None) -> None:
        before: tuple[str | None, str | None] = (previous.revision, previous.digest) if previous else (None, None)
        with self._turn, translated("storing what is live"):
            self._connection.execute(
                "INSERT OR REPLACE INTO activation VALUES (1, ?, ?, ?, ?)", (live.revision, live.digest, *before)
            )

    def _announced(self, channel: str) -> Announced | None:
        with self._turn, translated("reading what was announced"):
            row = self._connection.execute(f"{ANNOUNCED} WHERE channel = ?", (channel,)).get
        return None if row is None else announced_of(row)

    def _every_announced(self) -> list[Announced]:
        with self._turn, translated("reading what was announced"):
            return [announced_of(row) for row in self._connection.execute(ANNOUNCED).fetchall()]

    def _advance(self, announced: Announced) -> bool:
        with self._turn, translated("storing what was announced"):
            return self._connection.execute(ADVANCE, row_of(announced)).get is not None


def row_of(announced: Announced) -> tuple[str | int, ...]:
    """Return an announcement as it is stored."""
    found = announced.announcement
    return (
        *(found.channel, found.commit, found.content, found.counter, found.issued_at_seconds),
        *(found.expires_at_seconds, announced.digest, announced.key_id),
    )


def announced_of(row: Sequence[Any]) -> Announced:
    """Return a stored announcement."""
    channel, revision, content, counter, issued_at, expires_at, digest, key_id = row
    found = Announcement(channel, CommitId(revision), content, counter, issued_at, expires_at)
    return Announced(found, digest, key_id)


def _activated(revision: str, digest: str) -> Activated:
    return Activated(CommitId(revision), BundleDigest(digest))
