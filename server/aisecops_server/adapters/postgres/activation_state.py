"""What was made live last, by any control plane on the database: one row, replaced whole."""

from __future__ import annotations

import asyncio
import contextlib

from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.postgres.readers import SERVER
from aisecops_server.adapters.sqlite.activation_state import ADVANCE, ANNOUNCED, announced_of, row_of
from aisecops_server.adapters.sqlite.database import translated
from aisecops_server.domain.bundles.announcement import Announced
from aisecops_server.domain.bundles.bundle import Activated, BundleDigest, CommitId

_LOAD = "SELECT live_revision, live_digest, previous_revision, previous_digest FROM activation"
_SAVE = "INSERT OR REPLACE INTO activation VALUES (1, ?, ?, ?, ?)"


class SharedActivation:
    """Implements ``ActivationStore`` and ``AnnouncementStore``; each use, which is rare, makes a connection."""

    def __init__(self, where: Place | str) -> None:
        self._where = where

    async def load(self) -> tuple[Activated, Activated | None] | None:
        """Return what is live and what was live before; ``None`` before the first activation."""
        return await asyncio.to_thread(self._load)

    async def save(self, live: Activated, previous: Activated | None) -> None:
        """Replace both at once, durably."""
        await asyncio.to_thread(self._save, live, previous)

    async def announced(self, channel: str) -> Announced | None:
        """Return what counted last; ``None`` before the first."""
        return await asyncio.to_thread(self._announced, channel)

    async def advance(self, announced: Announced) -> bool:
        """Let an announcement count from now on, durably; return whether none with this or a higher number did."""
        return await asyncio.to_thread(self._advance, announced)

    def close(self) -> None:
        """Nothing stays open."""

    def _load(self) -> tuple[Activated, Activated | None] | None:
        with (
            translated("reading what is live", SERVER),
            contextlib.closing(PostgresConnection(self._where)) as connection,
        ):
            row = connection.execute(_LOAD).get
        if row is None:
            return None
        return _activated(row[0], row[1]), None if row[2] is None else _activated(row[2], row[3])

    def _save(self, live: Activated, previous: Activated | None) -> None:
        before = (previous.revision, previous.digest) if previous else (None, None)
        with (
            translated("storing what is live", SERVER),
            contextlib.closing(PostgresConnection(self._where)) as connection,
        ):
            connection.execute(_SAVE, (live.revision, live.digest, *before))

    def _announced(self, channel: str) -> Announced | None:
        with (
            translated("reading what was announced", SERVER),
            contextlib.closing(PostgresConnection(self._where)) as connection,
        ):
            row = connection.execute(f"{ANNOUNCED} WHERE channel = ?", (channel,)).get
        return None if row is None else announced_of(row)

    def _advance(self, announced: Announced) -> bool:
        with (
            translated("storing what was announced", SERVER),
            contextlib.closing(PostgresConnection(self._where)) as connection,
        ):
            return connection.execute(ADVANCE, row_of(announced)).get is not None


def _activated(revision: str, digest: str) -> Activated:
    return Activated(CommitId(revision), BundleDigest(digest))
