"""What reviewers said, read from a log in memory, and reviews of replays that are not there."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.replays.flip_verdict import is_about
from aisecops_server.domain.replays.replay import ReplayId
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.usecases.reviews.judge_flips import JudgeFlips

from tests.fakes.replays import no_replays


@dataclass
class LoggedVerdicts:
    """Implements ``VerdictReader`` on any log."""

    log: EventLog

    async def verdicts(self, replay_id: ReplayId) -> list[StoredEvent]:
        events = self.log.events(from_index=0, follow=False, trace_id="")
        return [stored async for stored in events if is_about(stored, replay_id)]


def no_reviews(log: EventLog, clock: Clock, ids: Ids) -> JudgeFlips:
    """Return what records verdicts on replays, of which there are none."""
    return JudgeFlips(no_replays().groups, log, LoggedVerdicts(log), clock, ids)
