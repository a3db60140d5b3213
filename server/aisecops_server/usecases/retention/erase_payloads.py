"""Erases what people and agents wrote: one trace on request, or all whose time is over.

Ordering rules: a tombstone (who, why, which class, up to where) and the erasure are one transaction of the log, which
a hold or anything unfinished in the trace refuses. What others made of the record is dropped after that. Nothing here
decides how long something is kept: that is the table of the live revision.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import ContendedError, HeldError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import ChangeRecord, Receipt, TraceSummary
from aisecops_server.domain.retention.keeping import ON_REQUEST, ErasePayloads, Reason, erased_event
from aisecops_server.domain.retention.retention import Retention, retention_rules
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.keeping import Copies, KeepingStore
from aisecops_server.usecases.budgets.adjust_budget import require_reason

_PAGE = 200
_DAY_NS = 24 * 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: the tombstone's receipt, up to which event, and whether no file holds it any more."""

    receipt: Receipt
    through: int
    overwritten: bool


@dataclass(frozen=True, slots=True)
class Due:
    """A trace whose time is over. ``held_by`` are holds that keep it all the same, ``problem`` says why it is there."""

    trace: TraceSummary
    retention: Retention
    held_by: tuple[str, ...] = ()
    erased: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EraseTrace:
    """Erases one trace."""

    log: EventLog
    keeping: KeepingStore
    copies: Sequence[Copies]
    clock: Clock
    ids: Ids

    async def __call__(self, trace_id: str, *, principal: str, reason: str, class_name: str = ON_REQUEST) -> Erased:
        """Erase what can be erased of a trace, of all that is recorded by now.

        Raises:
            InvalidRequestError: there is no reason.
            NotFoundError: there is no such trace.
            HeldError: a hold names it or one of its agents.
            ContendedError: people or grants still wait in it.
            LogUnavailableError: it could not be recorded, and was not erased.
        """
        require_reason(reason)
        change = ErasePayloads(trace_id, await self.keeping.last_index(trace_id))
        event = erased_event(
            change, Reason(principal, reason, class_name), id=self.ids.event_id(), now_ns=self.clock.now_ns()
        )
        receipt = await self.log.append_change(ChangeRecord((event,), (change,)))
        if class_name == ON_REQUEST:
            await self.forget([trace_id])
        return Erased(receipt, change.through, self.keeping.is_overwritten())

    async def forget(self, trace_ids: Sequence[str]) -> None:
        """Drop what others made of traces that were erased."""
        for copies in self.copies:
            await copies.forget(trace_ids)


@dataclass(frozen=True, slots=True)
class ApplyRetention:
    """Finds the traces whose time is over, and erases them. ``tables`` are those of the live revision."""

    keeping: KeepingStore
    erase: EraseTrace
    tables: Callable[[], Mapping[str, JsonValue]]
    clock: Clock

    async def due(self) -> AsyncIterator[Due]:
        """Yield what would be erased, and what holds keep, in the order in which traces began."""
        rules, now = retention_rules(self.tables()), self.clock.now_ns()
        after = -1
        while rules.shortest_days:
            page = await self.keeping.unerased(
                last_before_ns=now - rules.shortest_days * _DAY_NS, after=after, limit=_PAGE
            )
            for number, trace in page:
                after = number
                kept = rules.of(trace)
                if kept.is_over(trace.last_at_ns, now_ns=now):
                    yield Due(trace, kept, tuple(await self.keeping.holding(trace)))
            if len(page) < _PAGE:
                return

    async def __call__(self, *, principal: str) -> AsyncIterator[Due]:
        """Erase what is due, one trace after the other, and yield what became of each."""
        erased: list[str] = []
        try:
            async for due in self._erase_due(principal):
                if due.erased:
                    erased.append(due.trace.trace_id)
                yield due
        finally:
            # Once for all of them, because it looks through everything that replays keep.
            if erased:
                await self.erase.forget(erased)

    async def _erase_due(self, principal: str) -> AsyncIterator[Due]:
        async for due in self.due():
            if due.held_by:
                yield due
                continue
            try:
                await self.erase(
                    due.trace.trace_id,
                    principal=principal,
                    reason=f"kept for {due.retention.days} days",
                    class_name=due.retention.name,
                )
            except (HeldError, ContendedError) as error:
                # Somebody held it, or something in it went on, after it was looked up.
                yield Due(due.trace, due.retention, problem=error.message)
            else:
                yield Due(due.trace, due.retention, erased=True)
