"""The latest signed checkpoint, in a database of its own, so that an older copy of the log is found out beside it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from aisecops_server.adapters.sqlite.database import migrate, open_for_reading, open_for_writing, translated
from aisecops_server.domain.formats.signed_note import Note, read_note

# "AISC"
_APPLICATION_ID = 0x41495343

_MIGRATIONS = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), note TEXT NOT NULL) STRICT;
    """,
)


def latest_checkpoint(path: Path) -> Note | None:
    """Return the latest checkpoint stored at ``path``, read beside whoever writes it; ``None`` when there is none.

    Raises:
        IntegrityError: the file is damaged, or what is stored is no note.
        LogUnavailableError: it cannot be read.
    """
    if not path.is_file():
        return None
    connection = open_for_reading(path)
    try:
        with translated("reading the latest checkpoint"):
            found = connection.execute("SELECT note FROM checkpoint").get
    finally:
        connection.close()
    return None if found is None else read_note(str(found))


class SqliteCheckpointStore:
    """Implements ``CheckpointStore``."""

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

    async def latest(self) -> Note | None:
        """Return the latest checkpoint with all its signatures."""
        written = await asyncio.to_thread(self._latest)
        return None if written is None else read_note(written)

    async def save(self, note: Note) -> None:
        """Replace the latest checkpoint, durably."""
        await asyncio.to_thread(self._save, note.written())

    def close(self) -> None:
        """Close the database."""
        with self._turn, translated("closing it"):
            self._connection.close()

    def _latest(self) -> str | None:
        with self._turn, translated("reading the latest checkpoint"):
            found = self._connection.execute("SELECT note FROM checkpoint").get
        return None if found is None else str(found)

    def _save(self, written: str) -> None:
        with self._turn, translated("storing a checkpoint"):
            self._connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (1, ?)", (written,))
