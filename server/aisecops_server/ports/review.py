"""What reviewers said about replays, read back from the log."""

from __future__ import annotations

from typing import Protocol

from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.replays.replay import ReplayId


class VerdictReader(Protocol):
    """Reads the events in which reviewers judged what a replay changes."""

    async def verdicts(self, replay_id: ReplayId) -> list[StoredEvent]:
        """Return those about one replay, in the order of the log.

        Raises:
            IntegrityError: an event does not verify.
        """
        ...
