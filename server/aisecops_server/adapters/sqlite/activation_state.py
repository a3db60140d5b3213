"""What was made live last, in a database of its own: one row, replaced whole, durable when ``save`` returns."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing, translated
from aisecops_server.domain.bundle import Activated, BundleDigest, CommitId

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
)


class ActivationState:
    """Implements ``ActivationStore``."""

    def __init__(self, path: Path) -> None:
        """Open the database at ``path``, making it when it is not there.

        Raises:
            IntegrityError: the file is damaged.
            LogUnavailableError: it cannot be opened, or a newer version wrote it.
        """
        self._connection = open_for_writing(path)
        migrate(self._connection, _MIGRATIONS, application_id=_APPLICATION_ID)

    async def load(self) -> tuple[Activated, Activated | None] | None:
        """Return what is live and what was live before; ``None`` before the first activation."""
        return await asyncio.to_thread(self._load)

    async def save(self, live: Activated, previous: Activated | None) -> None:
        """Replace both at once, durably."""
        await asyncio.to_thread(self._save, live, previous)

    def close(self) -> None:
        """Close the database."""
        with translated("closing it"):
            self._connection.close()

    def _load(self) -> tuple[Activated, Activated | None] | None:
        with translated("reading what is live"):
            row = self._connection.execute(
                "SELECT live_revision, live_digest, previous_revision, previous_digest FROM activation"
            ).get
        if row is None:
            return None
        return _activated(row[0], row[1]), None if row[2] is None else _activated(row[2], row[3])

    def _save(self, live: Activated, previous: Activated | None) -> None:
        before: tuple[str | None, str | None] = (previous.revision, previous.digest) if previous else (None, None)
        with translated("storing what is live"):
            self._connection.execute(
                "INSERT OR REPLACE INTO activation VALUES (1, ?, ?, ?, ?)", (live.revision, live.digest, *before)
            )


def _activated(revision: str, digest: str) -> Activated:
    return Activated(CommitId(revision), BundleDigest(digest))
