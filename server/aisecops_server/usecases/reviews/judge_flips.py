"""People judge what a replay changes: they saw a group, expect it, or do not. Who, when and why is in the log.

It stands beside replay, which is handed no log to append to. Nothing is decided by a verdict; whoever makes a revision
live can read it.
"""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.replays.flip_groups import FlipGroup, Grouping
from aisecops_server.domain.replays.flip_verdict import (
    Judgement,
    Review,
    Verdict,
    Word,
    review_of,
    verdict_event,
    verdict_of,
)
from aisecops_server.domain.replays.replay import ReplayId, ReplayRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.review import VerdictReader
from aisecops_server.usecases.budgets.adjust_budget import require_reason
from aisecops_server.usecases.replays.group_flips import FlipGroups, GroupFlips


@dataclass(frozen=True, slots=True)
class JudgeFlips:
    """Records verdicts on the groups of a replay and on single decisions, and reads them back."""

    groups: GroupFlips
    log: EventLog
    said: VerdictReader
    clock: Clock
    ids: Ids

    async def __call__(self, replay_id: ReplayId, word: Word, *, group_id: str = "", decision_id: str = "") -> Verdict:
        """Record a word on a group, or on one decision of it, and return the one that stands now.

        To have seen what one has a word on already records nothing.

        Raises:
            NotFoundError: there is no such replay, group or changed decision.
            InvalidRequestError: the replay is not done, there is no reason, or neither or both are named.
            LogUnavailableError: it could not be recorded, and was not said.
        """
        if bool(group_id) == bool(decision_id):
            raise InvalidRequestError("name a group or a decision", hint="One of the two", field="group_id")
        if word.judgement is not Judgement.SEEN or word.reason:
            require_reason(word.reason)
        record = await self.groups.reads.one(replay_id)
        group = await self._group(record, group_id, decision_id)
        if word.judgement is Judgement.SEEN:
            standing = await self._standing(replay_id, (word.principal, group.key.id, decision_id))
            if standing is not None:
                return standing
        # As the log keeps it.
        now = self.clock.now_ns() // 1000 * 1000
        event = verdict_event(record, group, decision_id, word, id=self.ids.event_id(), now_ns=now)
        receipt = await self.log.append_event(event)
        return Verdict(
            group_id=group.key.id,
            decision_id=decision_id,
            judgement=word.judgement,
            reason=word.reason,
            judged_by=word.principal,
            judged_at_ns=now,
            event_id=event.id,
            log_index=receipt.log_index,
        )

    async def review(self, replay_id: ReplayId, *, only_of: str = "") -> Review:
        """Return what was said about a replay.

        Raises:
            NotFoundError: there is none, or not of ``only_of`` if that is given.
        """
        return await read_review(self.groups, self.said, replay_id, only_of=only_of)

    async def _standing(self, replay_id: ReplayId, subject: tuple[str, str, str]) -> Verdict | None:
        review = await self.review(replay_id)
        return next((one for one in review.verdicts if one.subject == subject), None)

    async def _group(self, record: ReplayRecord, group_id: str, decision_id: str) -> FlipGroup:
        found = await self.groups(record.id)
        if not found.whole or record.report is None:
            raise InvalidRequestError(
                f"replay {record.id} is not done, so nobody can judge what it changes",
                hint=f"'aisecops replay show {record.id}' says how far it is",
                field="replay_id",
            )
        if decision_id:
            result = await self.groups.result(record.id, decision_id)
            group_id = Grouping.of(record.question, record.report).key(result).id if result else ""
        group = next((one for one in found.groups if one.key.id == group_id), None)
        if group is None:
            named = decision_id or group_id
            raise NotFoundError(
                f"replay {record.id} changes no {'decision' if decision_id else 'group'} {named[:64]}",
                hint=f"'aisecops replay show {record.id}' lists what it changes",
                id=named[:64],
            )
        return group


async def read_review(groups: GroupFlips, said: VerdictReader, replay_id: ReplayId, *, only_of: str = "") -> Review:
    """Return what was said about a replay.

    Raises:
        NotFoundError: there is none, or not of ``only_of`` if that is given.
    """
    found: FlipGroups = await groups(replay_id, only_of=only_of)
    verdicts = map(verdict_of, await said.verdicts(replay_id))
    return review_of(verdicts, groups=len(found.groups) + found.left_out)
