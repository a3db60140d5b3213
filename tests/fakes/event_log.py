"""An event log in memory, for tests of what stands on the log rather than of the log."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, NotFoundError, SealedError
from aisecops_server.domain.events.event import Event, StoredEvent
from aisecops_server.domain.log.grant_keys import OF_EDGE, ROTATED
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.domain.log.merkle import consistency_proof, inclusion_proof, root_of
from aisecops_server.domain.log.record import (
    ChangeRecord,
    DecisionRecord,
    LogHead,
    LogReport,
    PlacedEvent,
    Receipt,
    StoredDecision,
    StoredTrace,
    TraceFilter,
    TracePage,
    TraceSummary,
    placed,
)
from aisecops_server.domain.traces.trace_facets import TraceFacets, count, facets_of, fits, questions
from aisecops_server.domain.traces.trace_outline import TraceOutline, outline_of


@dataclass
class MemoryEventLog:
    """Keeps everything in lists. Set ``sealed`` to refuse what comes next."""

    sealed: str = ""
    stored: list[StoredEvent] = field(default_factory=list)
    decisions: dict[str, StoredDecision] = field(default_factory=dict)
    records: list[DecisionRecord] = field(default_factory=list)
    _keys: dict[tuple[str, str], StoredDecision] = field(default_factory=dict)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def append(self, record: DecisionRecord) -> Receipt:
        for event in record.events:
            last = self._store(event)
        receipt = Receipt(last.event.id, last.index, last.leaf_hash)
        key = record.idempotency
        stored = StoredDecision(
            record.decision.id,
            last.event.details(),
            record.document,
            receipt,
            key.request_digest if key else "",
        )
        self.decisions[stored.decision_id] = stored
        self.records.append(record)
        if key:
            self._keys[key.principal_id, key.key] = stored
        return receipt

    async def append_many(self, records: Sequence[DecisionRecord]) -> list[Receipt | AisecopsError]:
        return [await self.append(record) for record in records]

    async def append_event(self, event: Event) -> Receipt:
        stored = self._store(event)
        return Receipt(event.id, stored.index, stored.leaf_hash)

    async def append_change(self, record: ChangeRecord) -> Receipt:
        for event in record.events:
            stored = self._store(event)
        return Receipt(stored.event.id, stored.index, stored.leaf_hash)

    async def replayed(self, principal_id: str, key: str) -> StoredDecision | None:
        return self._keys.get((principal_id, key))

    async def decision(self, decision_id: str) -> StoredDecision:
        if decision_id not in self.decisions:
            raise NotFoundError(f"there is no decision {decision_id}", id=decision_id)
        return self.decisions[decision_id]

    async def trace(self, trace_id: str) -> StoredTrace:
        records = [record for record in self.records if record.decision.trace_id == trace_id]
        if not records:
            raise NotFoundError(f"there is no trace {trace_id}", id=trace_id)
        return StoredTrace(
            _summary(records),
            tuple(self.decisions[record.decision.id] for record in records),
            tuple(event for event in self.stored if event.event.trace_id == trace_id),
        )

    async def outline(self, trace_id: str) -> TraceOutline:
        return outline_of(await self.trace(trace_id))

    async def event(self, trace_id: str, event_id: str) -> PlacedEvent:
        return placed(await self.trace(trace_id), event_id)

    async def traces(self, narrow: TraceFilter, *, page_size: int, page_token: str) -> TracePage:
        if page_token and not page_token.isdigit():
            raise InvalidRequestError("page_token: was not made by this log", field="page_token")
        wanted = self._matching(narrow)
        start = int(page_token or 0)
        page = wanted[start : start + page_size]
        more = start + page_size < len(wanted)
        return TracePage(tuple(page), str(start + page_size) if more else "")

    async def facets(self, narrow: TraceFilter, fields: Sequence[str]) -> TraceFacets:
        return facets_of([count(self._matching(one), of) for one, of in questions(narrow, fields)], fields)

    def _matching(self, narrow: TraceFilter) -> list[TraceSummary]:
        return [found for record in reversed(self.records) if fits(found := _summary([record]), narrow)]

    async def events(self, *, from_index: int, follow: bool, trace_id: str) -> AsyncIterator[StoredEvent]:
        at = from_index
        while True:
            for event in self.stored[at:]:
                at = event.index + 1
                if trace_id in ("", event.event.trace_id):
                    yield event
            if not follow:
                return
            self._more.clear()
            if at >= len(self.stored):
                await self._more.wait()

    async def head(self) -> LogHead:
        return await self.head_at(len(self.stored))

    async def identity(self) -> str:
        return "0" * 32

    async def head_at(self, size: int) -> LogHead:
        return LogHead(size, root_of(self._leaves(size)))

    async def inclusion(self, index: int, *, size: int) -> list[bytes]:
        try:
            return inclusion_proof(self._leaves(size), index)
        except ValueError as error:
            raise InvalidRequestError(str(error), field="index") from error

    async def consistency(self, old_size: int, *, size: int) -> list[bytes]:
        try:
            return consistency_proof(self._leaves(size), old_size) if old_size else []
        except ValueError as error:
            raise InvalidRequestError(str(error), field="size") from error

    async def rotations(self) -> list[StoredEvent]:
        return [stored for stored in self.stored if stored.event.type == "log.key_rotated"]

    async def grant_key_events(self) -> list[StoredEvent]:
        return [stored for stored in self.stored if stored.event.type in (ROTATED, OF_EDGE)]

    async def key_rotations(self, use: KeyUse) -> list[StoredEvent]:
        return [stored for stored in self.stored if stored.event.type == use.rotated]

    def seal(self, why: str) -> None:
        self.sealed = self.sealed or why

    def _leaves(self, size: int) -> list[bytes]:
        if not 0 <= size <= len(self.stored):
            raise InvalidRequestError(f"the log never had {size} events", field="size")
        return [event.leaf_hash for event in self.stored[:size]]

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> LogReport:
        head = await self.head()
        if progress:
            progress(head.size, head.size)
        return LogReport(head, head, "", None)

    async def close(self) -> None:
        self.sealed = "closed"

    def _store(self, event: Event) -> StoredEvent:
        if self.sealed:
            raise SealedError("the log is sealed", hint="Free some disk", why=self.sealed)
        stored = StoredEvent(event, len(self.stored), hashlib.sha256(b"\0" + event.body).digest())
        self.stored.append(stored)
        self._more.set()
        return stored


def _summary(records: Sequence[DecisionRecord]) -> TraceSummary:
    first, last = records[0], records[-1]
    return TraceSummary(
        trace_id=first.decision.trace_id,
        agent_id=first.agent_id,
        outcome=last.decision.outcome.value,
        mode=last.decision.mode.value,
        intent=first.intent,
        tools=first.tools,
        rules=tuple(finding.rule for finding in last.decision.conclusion.findings),
        lowest_trust=first.lowest_trust,
        bundle_revision=last.decision.bundle_revision,
        decisions=len(records),
        started_at_ns=first.decision.decided_at_ns,
        last_at_ns=last.decision.decided_at_ns,
        agents=tuple(sorted({record.agent_id for record in records})),
    )
