"""Nothing is kept and nothing held, for tests of what stands beside it."""

from __future__ import annotations

from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.log.record import TraceSummary
from aisecops_server.domain.retention.keeping import Hold
from aisecops_server.entrypoints.grpc.retention_service import RetentionUseCases
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.usecases.retention.erase_payloads import ApplyRetention, EraseTrace
from aisecops_server.usecases.retention.hold_traces import HoldTraces


class NoKeeping:
    """Implements ``KeepingStore`` for a log without traces."""

    async def unerased(self, *, last_before_ns: int, after: int, limit: int) -> list[tuple[int, TraceSummary]]:
        return []

    async def last_index(self, trace_id: str) -> int:
        raise NotFoundError(f"there is no trace {trace_id}", id=trace_id)

    async def holds(self, *, released: bool) -> list[Hold]:
        return []

    async def hold(self, hold_id: str) -> Hold:
        raise NotFoundError(f"there is no hold {hold_id}", id=hold_id)

    async def holding(self, trace: TraceSummary) -> list[str]:
        return []

    def is_overwritten(self) -> bool:
        return True


def no_retention(log: EventLog, clock: Clock, ids: Ids) -> RetentionUseCases:
    """Return what erases and holds, of nothing."""
    keeping = NoKeeping()
    erase = EraseTrace(log, keeping, (), clock, ids)
    return RetentionUseCases(
        erase, ApplyRetention(keeping, erase, dict, clock), HoldTraces(log, keeping, dict, clock, ids)
    )
