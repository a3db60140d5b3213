"""Rollouts in a database of their own: a row each, replaced whole, durable when ``save`` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import orjson

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing, translated
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.rollout import Rollout, read_rollout
from aisecops_server.domain.rollout_tally import Tally, read_tally

# "AISR"
_APPLICATION_ID = 0x41495352

_MIGRATIONS = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE rollout (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id     TEXT NOT NULL UNIQUE,
        body   BLOB NOT NULL
    ) STRICT;
    """,
)
_SAVE = "INSERT INTO rollout (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body"


class SqliteRolloutStore:
    """Implements ``RolloutStore``."""

    def __init__(self, path: Path) -> None:
        """Open the database at ``path``, making it when it is not there.

        Raises:
            IntegrityError: the file is damaged.
            LogUnavailableError: it cannot be opened, or a newer version wrote it.
        """
        self._connection = open_for_writing(path)
        migrate(self._connection, _MIGRATIONS, application_id=_APPLICATION_ID)

    async def newest(self) -> tuple[Rollout, Tally] | None:
        """Return the rollout that was begun last."""
        found = await self.recent(1)
        return found[0] if found else None

    async def recent(self, limit: int) -> Sequence[tuple[Rollout, Tally]]:
        """Return the latest rollouts, newest first."""
        return await asyncio.to_thread(self._recent, limit)

    async def save(self, rollout: Rollout, tally: Tally) -> None:
        """Store a rollout as it is now, durably."""
        # Made here and not in the thread: the tally goes on counting.
        body = orjson.dumps({"rollout": rollout.as_json(), "tally": tally.as_json()})
        await asyncio.to_thread(self._save, rollout.id, body)

    def close(self) -> None:
        """Close the database."""
        with translated("closing it"):
            self._connection.close()

    def _recent(self, limit: int) -> list[tuple[Rollout, Tally]]:
        with translated("reading rollouts"):
            query = "SELECT CAST(body AS TEXT) FROM rollout ORDER BY number DESC LIMIT ?"
            rows = self._connection.execute(query, (limit,)).fetchall()
        try:
            read = [orjson.loads(str(row[0])) for row in rows]
            return [(read_rollout(each["rollout"]), read_tally(each["tally"])) for each in read]
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                "a stored rollout cannot be read",
                hint="Keep rollout.db as evidence; without the file the live revision decides alone",
            ) from error

    def _save(self, rollout_id: str, body: bytes) -> None:
        with translated("storing a rollout"):
            self._connection.execute(_SAVE, (rollout_id, body))
