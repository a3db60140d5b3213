"""What a witness has signed last, of each log: moved forward in one statement, so that of two requests one wins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing, translated
from aisecops_server.domain.formats.signed_note import NoteKey, read_key
from aisecops_server.domain.log.record import LogHead

# "AISW"
_APPLICATION_ID = 0x41495357

_MIGRATIONS = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE cosigned (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT, WITHOUT ROWID;
    """,
    # By which key a log is known, as long as the operator gives the same one.
    """
    CREATE TABLE log_key (given TEXT PRIMARY KEY, current TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
    # By which keys it was known before.
    """
    CREATE TABLE earlier_log_key (given TEXT, key TEXT, PRIMARY KEY (given, key)) STRICT, WITHOUT ROWID;
    INSERT INTO earlier_log_key SELECT given, given FROM log_key;
    """,
)

_ADVANCE = """
    INSERT INTO cosigned SELECT :origin, :size, :root WHERE :after = 0
        OR EXISTS (SELECT 1 FROM cosigned WHERE origin = :origin)
    ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root WHERE cosigned.size = :after
    RETURNING size"""

_RETIRE = """
    INSERT OR IGNORE INTO earlier_log_key
    SELECT :given, coalesce((SELECT current FROM log_key WHERE given = :given), :given)"""


class SqliteWitnessStore:
    """Implements ``WitnessStore``."""

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

    async def latest(self, origin: str) -> LogHead | None:
        """Return the last head that was signed of a log."""
        return await asyncio.to_thread(self._latest, origin)

    async def advance(self, origin: str, head: LogHead, *, after: int) -> bool:
        """Store ``head`` durably if the last one had ``after`` leaves; return whether it was so."""
        return await asyncio.to_thread(self._advance, origin, head, after)

    async def key_of(self, given: NoteKey) -> NoteKey:
        """Return the key that follows, by all that was told, the one that the operator gave."""
        return await asyncio.to_thread(self._key_of, given)

    async def keys_before(self, given: NoteKey) -> Sequence[NoteKey]:
        """Return the keys that the log was known by, and is not any more."""
        return await asyncio.to_thread(self._keys_before, given.text())

    async def follow(self, given: NoteKey, key: NoteKey) -> None:
        """Know the log by ``key`` from now on, durably."""
        await asyncio.to_thread(self._follow, given.text(), key.text())

    def close(self) -> None:
        """Close the database."""
        with self._turn, translated("closing it"):
            self._connection.close()

    def _key_of(self, given: NoteKey) -> NoteKey:
        with self._turn, translated("reading by which key a log is known"):
            found = self._connection.execute("SELECT current FROM log_key WHERE given = ?", (given.text(),)).get
        return read_key(str(found)) if found else given

    def _follow(self, given: str, current: str) -> None:
        with self._turn, translated("storing by which key a log is known"), self._connection:
            self._connection.execute(_RETIRE, {"given": given})
            self._connection.execute("INSERT OR REPLACE INTO log_key VALUES (?, ?)", (given, current))

    def _keys_before(self, given: str) -> list[NoteKey]:
        with self._turn, translated("reading by which keys a log was known"):
            found = self._connection.execute("SELECT key FROM earlier_log_key WHERE given = ?", (given,)).fetchall()
        return [read_key(str(key)) for (key,) in found]

    def _latest(self, origin: str) -> LogHead | None:
        with self._turn, translated("reading what was signed"):
            row = self._connection.execute("SELECT size, root FROM cosigned WHERE origin = ?", (origin,)).get
        return None if row is None else LogHead(*row)

    def _advance(self, origin: str, head: LogHead, after: int) -> bool:
        bound = {"origin": origin, "size": head.size, "root": head.root, "after": after}
        with self._turn, translated("storing what is signed"):
            return self._connection.execute(_ADVANCE, bound).get is not None
