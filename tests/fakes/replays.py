"""Replay on a history of nothing: the real use cases, which have nothing to find."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisecops_server.adapters.sqlite.replay_store import SqliteReplayStore
from aisecops_server.domain.errors import NotFoundError, UnknownRevisionError
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.replays.recorded_decision import Place, RecordedDecision
from aisecops_server.domain.replays.replay import Selection
from aisecops_server.entrypoints.grpc.replay_service import ReplayUseCases
from aisecops_server.usecases.replays.bisect_decisions import BisectDecisions
from aisecops_server.usecases.replays.compare_revisions import CompareRevisions
from aisecops_server.usecases.replays.explain_change import ExplainChange
from aisecops_server.usecases.replays.group_flips import GroupFlips
from aisecops_server.usecases.replays.read_replays import ReadReplays
from aisecops_server.usecases.replays.run_replays import RunReplays

from tests.fakes.clock import FakeClock


@dataclass
class MemoryHistory:
    """Decisions in a list."""

    decisions: list[RecordedDecision] = field(default_factory=list)

    async def head(self) -> LogHead:
        return LogHead(len(self.decisions), b"\0" * 32)

    async def count(self, selection: Selection, *, until: int) -> int:
        return len([one for one in self.decisions[:until] if selection.holds(one)])

    async def places(self, selection: Selection, *, after: Place | None, limit: int, until: int) -> list[Place]:
        first = after.index + 1 if after else 0
        return [Place(at, at, bytes([at % 256]) * 32) for at in range(first, until)][:limit]

    async def strata(self, selection: Selection, *, most: int, until: int) -> dict[str, list[Place]]:
        return {"all": await self.places(selection, after=None, limit=most, until=until)}

    async def read(self, places: Sequence[Place]) -> list[RecordedDecision]:
        return [self.decisions[place.index] for place in places]

    async def of_trace(self, trace_id: str) -> list[RecordedDecision]:
        return [one for one in self.decisions if one.text("trace_id") == trace_id]

    async def decision(self, decision_id: str) -> RecordedDecision:
        raise NotFoundError("there is no decision")


class NoPolicy:
    """Stands in for a repository that has nothing."""

    async def __call__(self, _wanted: object) -> None:
        raise UnknownRevisionError("the policy repository has no such commit", revision="none")

    async def commit_id(self, _name: str) -> str:
        raise UnknownRevisionError("the policy repository has no such commit", revision="none")


def no_replays() -> ReplayUseCases:
    """Return use cases that can be asked and have nothing."""
    history, policies = MemoryHistory(), NoPolicy()
    nothing: Any = None  # what is only asked once a decision was found
    store = SqliteReplayStore(Path(tempfile.mkdtemp()) / "replay.db")
    runs = RunReplays(
        history=history,
        store=store,
        policies=policies,  # type: ignore[arg-type]
        replay=None,  # type: ignore[arg-type]
        clock=FakeClock(),
    )
    reads = ReadReplays(store, runs)
    compare = CompareRevisions(history, policies, nothing)  # type: ignore[arg-type]
    return ReplayUseCases(
        runs,
        reads,
        ExplainChange(history, store, reads, nothing, nothing, nothing),
        compare,
        BisectDecisions(compare, nothing, nothing),
        GroupFlips(store, reads),
    )
