"""Where in the log the last report on drift stands: one row, replaced whole. The report itself is the event."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

import apsw

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing, translated

# "AISL"
_APPLICATION_ID = 0x4149534C
_MIGRATIONS = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE last_look (id INTEGER PRIMARY KEY CHECK (id = 1), event INTEGER NOT NULL) STRICT;
    """,
)


@dataclass(frozen=True, slots=True)
class SqliteLastLook:
    """Implements ``LastLook`` in a file of its own, which is opened for each use: looks are hours apart."""

    path: Path

    async def load(self) -> int | None:
        """Return the index, if there is one."""
        return await asyncio.to_thread(self._load) if self.path.exists() else None

    async def save(self, index: int) -> None:
        """Replace it, durably."""
        await asyncio.to_thread(self._save, index)

    def _load(self) -> int | None:
        with contextlib.closing(_open(self.path)) as held, translated("reading where the last report stands"):
            found: int | None = held.execute("SELECT event FROM last_look").get
        return found

    def _save(self, index: int) -> None:
        with contextlib.closing(_open(self.path)) as held, translated("storing where the last report stands"):
            held.execute("INSERT OR REPLACE INTO last_look VALUES (1, ?)", (index,))


def _open(path: Path) -> apsw.Connection:
    connection = open_for_writing(path)
    migrate(connection, _MIGRATIONS, application_id=_APPLICATION_ID)
    return connection
