"""Reading what reviewers said about replays, on the readers' connections."""

from __future__ import annotations

from functools import partial

import apsw

from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.stored import verdicts_of
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.replays.flip_verdict import is_about
from aisecops_server.domain.replays.replay import ReplayId


class SqliteReviews:
    """Implements ``VerdictReader``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def verdicts(self, replay_id: ReplayId) -> list[StoredEvent]:
        """Return the events about one replay, in the order of the log."""
        return await self._readers.run(partial(_verdicts, replay_id=replay_id))


def _verdicts(connection: apsw.Connection, replay_id: ReplayId) -> list[StoredEvent]:
    return [stored for stored in verdicts_of(connection, replay_id) if is_about(stored, replay_id)]
