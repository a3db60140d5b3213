"""Groups what a replay found for those who review it: the same transition, rules and changed clauses. It only reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from aisecops_server.domain.replays.flip_groups import FlipGroup, Grouping, groups_of_report, ordered
from aisecops_server.domain.replays.replay import ReplayId, ReplayRecord, ReplayState
from aisecops_server.ports.replay import ReplayStore
from aisecops_server.usecases.replays.read_replays import ReadReplays, Result, ResultFilter

MOST_GROUPS = 500
_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class FlipGroups:
    """Groups in the order of ``flip_groups``, and how many more there are.

    Without ``whole`` they are those that a sample, or an unfinished replay, counted: nobody can judge them yet.
    """

    groups: tuple[FlipGroup, ...]
    left_out: int = 0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class GroupFlips:
    """Puts the results of a replay into groups. What is done stays as it is, so the last few are remembered."""

    store: ReplayStore
    reads: ReadReplays
    _found: dict[tuple[ReplayId, int], FlipGroups] = field(default_factory=dict)

    async def __call__(self, replay_id: ReplayId, *, only_of: str = "") -> FlipGroups:
        """Return the groups of a replay.

        Raises:
            NotFoundError: there is none, or not of ``only_of`` if that is given.
        """
        record = await self.reads.one(replay_id, only_of=only_of)
        if record.state is not ReplayState.DONE or record.report is None:
            early = record.report or record.early
            groups = groups_of_report(early) if early else []
            return FlipGroups(tuple(groups[:MOST_GROUPS]), max(0, len(groups) - MOST_GROUPS))
        known = (record.id, record.finished_at_ns)
        if known not in self._found:
            if len(self._found) >= _REMEMBERED:
                self._found.pop(next(iter(self._found)))
            self._found[known] = await self._all(record, Grouping.of(record.question, record.report))
        return self._found[known]

    async def result(self, replay_id: ReplayId, decision_id: str) -> Result | None:
        """Return what became of one decision that did not stay the same, or nothing when it is none of those."""
        page = await self.reads.results(replay_id, ResultFilter(decision_id=decision_id), page_size=1, page_token="")
        return page.results[0] if page.results else None

    async def _all(self, record: ReplayRecord, grouping: Grouping) -> FlipGroups:
        found: dict[str, FlipGroup] = {}
        part = 0
        while (results := await self.store.results(record.id, part=part)) is not None:
            grouping.add(results, found)
            part += 1
        groups = ordered(found.values())
        return FlipGroups(tuple(groups[:MOST_GROUPS]), max(0, len(groups) - MOST_GROUPS), whole=True)
