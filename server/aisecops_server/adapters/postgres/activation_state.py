"""What was made live last, by any control plane on the database: one row, replaced whole."""

from __future__ import annotations

import asyncio
import contextlib

from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.readers import SERVER
from aisecops_server.adapters.sqlite.database import translated
from aisecops_server.domain.bundle import Activated, BundleDigest, CommitId

_LOAD = "SELECT live_revision, live_digest, previous_revision, previous_digest FROM activation"
_SAVE = "INSERT OR REPLACE INTO activation VALUES (1, ?, ?, ?, ?)"


class SharedActivation:
    """Implements ``ActivationStore``; a connection is made for each use, because uses are rare."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def load(self) -> tuple[Activated, Activated | None] | None:
        """Return what is live and what was live before; ``None`` before the first activation."""
        return await asyncio.to_thread(self._load)

    async def save(self, live: Activated, previous: Activated | None) -> None:
        """Replace both at once, durably."""
        await asyncio.to_thread(self._save, live, previous)

    def close(self) -> None:
        """Nothing stays open."""

    def _load(self) -> tuple[Activated, Activated | None] | None:
        with (
            translated("reading what is live", SERVER),
            contextlib.closing(PostgresConnection(self._url)) as connection,
        ):
            row = connection.execute(_LOAD).get
        if row is None:
            return None
        return _activated(row[0], row[1]), None if row[2] is None else _activated(row[2], row[3])

    def _save(self, live: Activated, previous: Activated | None) -> None:
        before = (previous.revision, previous.digest) if previous else (None, None)
        with (
            translated("storing what is live", SERVER),
            contextlib.closing(PostgresConnection(self._url)) as connection,
        ):
            connection.execute(_SAVE, (live.revision, live.digest, *before))


def _activated(revision: str, digest: str) -> Activated:
    return Activated(CommitId(revision), BundleDigest(digest))
