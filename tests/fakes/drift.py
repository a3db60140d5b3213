"""Drift of a history of nothing: the real use cases, which have nothing to look at."""

from __future__ import annotations

from collections.abc import Sequence

from aisecops_server.domain.replays.fidelity import Check
from aisecops_server.entrypoints.grpc.drift_service import DriftUseCases
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.usecases.replays.check_drift import CheckDrift
from aisecops_server.usecases.replays.sample_decisions import SampleDecisions
from aisecops_server.usecases.reviews.watch_drift import WatchDrift

from tests.fakes.replays import MemoryHistory, NoPolicy


class MemoryLastLook:
    """Where the last report stands, in memory."""

    def __init__(self) -> None:
        self.index: int | None = None

    async def load(self) -> int | None:
        """Return the index, if there is one."""
        return self.index

    async def save(self, index: int) -> None:
        """Replace it."""
        self.index = index


async def nothing_checked(_decisions: Sequence[object]) -> list[Check]:
    """Stand in for an engine that is asked about nothing."""
    return []


def no_drift(log: EventLog, clock: Clock, ids: Ids) -> DriftUseCases:
    """Return use cases that can be asked and find nothing."""
    check = CheckDrift(
        sample=SampleDecisions(MemoryHistory()),
        fidelity=nothing_checked,  # type: ignore[arg-type]
        judge=None,  # type: ignore[arg-type]
        policies=NoPolicy(),  # type: ignore[arg-type]
        clock=clock,
        size=10,
    )
    watch = WatchDrift(
        check,
        list,
        record=log.append_event,
        clock=clock,
        ids=ids,
        interval_seconds=3600.0,
        log=log,  # type: ignore[arg-type]
        place=MemoryLastLook(),
    )
    return DriftUseCases(watch, standing=False)
