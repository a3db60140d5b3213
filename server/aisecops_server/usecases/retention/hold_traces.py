"""Legal holds: while one names a trace or an agent, nothing of it is erased. Each has a person and a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.domain.retention.keeping import HOLD_ADDED, ChangeHold, HeldBy, Hold, hold_event, released
from aisecops_server.domain.retention.retention import retention_rules
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.keeping import KeepingStore
from aisecops_server.usecases.budgets.adjust_budget import require_reason

MOST_SUBJECTS = 1_000


@dataclass(frozen=True, slots=True)
class HoldTraces:
    """Adds, releases and lists holds. ``tables`` of the live revision say how many people release one."""

    log: EventLog
    keeping: KeepingStore
    tables: Callable[[], Mapping[str, JsonValue]]
    clock: Clock
    ids: Ids

    async def add(self, by: HeldBy, subjects: Sequence[str], *, principal: str, reason: str) -> Hold:
        """Hold traces, or all traces of agents, also those to come.

        Raises:
            InvalidRequestError: there is no reason, or nothing, or too much, to hold.
            NotFoundError: there is no such trace.
            LogUnavailableError: it could not be recorded, and nothing is held.
        """
        require_reason(reason)
        named = tuple(sorted(set(subjects)))
        if not 0 < len(named) <= MOST_SUBJECTS or not all(named):
            raise InvalidRequestError(f"subjects: 1 to {MOST_SUBJECTS} traces or agents are needed", field="subjects")
        if by is HeldBy.TRACE:
            for trace_id in named:
                await self.keeping.last_index(trace_id)
        now = self.clock.now_ns()
        name = self.ids.event_id().partition("-")[2]
        hold = Hold(f"hld-{name}", by, named, reason, added_by=principal, added_at_ns=now // 1000 * 1000)
        await self._record(hold, None, HOLD_ADDED, principal=principal, note=reason, now_ns=now)
        return hold

    async def release(self, hold_id: str, *, principal: str, reason: str) -> Hold:
        """Release a hold, or, where it takes two people and this is the first, ask for it.

        Raises:
            InvalidRequestError: there is no reason.
            NotFoundError: there is no such hold, or it was released before.
            ContendedError: somebody else was faster.
            LogUnavailableError: it could not be recorded, and holds on.
        """
        require_reason(reason)
        seen = await self.keeping.hold(hold_id)
        if not seen.is_held:
            raise NotFoundError(f"hold {hold_id} was released by {seen.released_by}", id=hold_id)
        hold, kind = released(seen, principal, needs=retention_rules(self.tables()).release_needs)
        await self._record(hold, seen, kind, principal=principal, note=reason, now_ns=self.clock.now_ns())
        return hold

    async def list(self, *, released: bool) -> list[Hold]:
        """Return the holds that last, oldest first; with ``released``, also those that do not."""
        return await self.keeping.holds(released=released)

    async def _record(
        self, hold: Hold, seen: Hold | None, kind: str, *, principal: str, note: str, now_ns: int
    ) -> None:
        event = hold_event(hold, kind, id=self.ids.event_id(), now_ns=now_ns, principal=principal, note=note)
        await self.log.append_change(ChangeRecord((event,), (ChangeHold(hold, seen),)))
