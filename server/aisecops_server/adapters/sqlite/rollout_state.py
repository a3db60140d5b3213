"""Rollouts in a database of their own: a row each, replaced whole, durable when ``save`` returns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import orjson

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing, translated
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.rollouts.rollout import Proposal, Rollout, Voice, read_rollout
from aisecops_server.domain.rollouts.rollout_tally import Tally, read_tally

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
    "CREATE TABLE proposal (subject TEXT PRIMARY KEY, base TEXT NOT NULL, voices TEXT NOT NULL) STRICT, WITHOUT ROWID",
)
_SAVE = "INSERT INTO rollout (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body"


class SqliteRolloutStore:
    """Implements ``RolloutStore`` and ``ProposalStore``."""

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

    async def proposal(self, subject: str) -> Proposal | None:
        """Return who asked for ``subject``, if anybody did."""
        return await asyncio.to_thread(self._proposal, subject)

    async def propose(self, proposal: Proposal) -> None:
        """Store who asked, durably; without voices nobody did."""
        await asyncio.to_thread(self._propose, proposal)

    def close(self) -> None:
        """Close the database."""
        with self._turn, translated("closing it"):
            self._connection.close()

    def _recent(self, limit: int) -> list[tuple[Rollout, Tally]]:
        with self._turn, translated("reading rollouts"):
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

    def _proposal(self, subject: str) -> Proposal | None:
        with self._turn, translated("reading who asked"):
            row = self._connection.execute("SELECT base, voices FROM proposal WHERE subject = ?", (subject,)).get
        if row is None:
            return None
        return Proposal(subject, str(row[0]), tuple(Voice(*voice) for voice in orjson.loads(str(row[1]))))

    def _propose(self, proposal: Proposal) -> None:
        voices = orjson.dumps([[voice.principal, voice.reason, voice.at_ns] for voice in proposal.voices]).decode()
        with self._turn, translated("storing who asked"), self._connection:
            # What was asked of another base is over.
            over = (proposal.base, proposal.subject)
            self._connection.execute("DELETE FROM proposal WHERE base <> ? OR subject = ?", over)
            if proposal.voices:
                row = (proposal.subject, proposal.base, voices)
                self._connection.execute("INSERT INTO proposal VALUES (?, ?, ?)", row)

    def _save(self, rollout_id: str, body: bytes) -> None:
        with self._turn, translated("storing a rollout"):
            self._connection.execute(_SAVE, (rollout_id, body))
