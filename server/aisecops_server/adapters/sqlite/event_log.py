"""The audit log in one SQLite file: ``EventLog`` and ``ProvenLog`` for a single control plane.

Owns how the parts are put together: one writer, a few readers, one process. Ordering rules: the lock is taken
before the file is opened; what is stored is checked before anything is appended; an answer follows its commit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import apsw

from aisecops_server.adapters.sqlite import database, delegations, outlines, schema, stored
from aisecops_server.adapters.sqlite.adoption import SqliteAdoption
from aisecops_server.adapters.sqlite.agent_activity import SqliteAgentActivity
from aisecops_server.adapters.sqlite.append import Entry, Result, load_frontier
from aisecops_server.adapters.sqlite.approval_rows import SqliteApprovals
from aisecops_server.adapters.sqlite.approval_table import ApprovalTable
from aisecops_server.adapters.sqlite.budget_table import MOST_OWNERS, BudgetTable
from aisecops_server.adapters.sqlite.budgets import SqliteBudgets
from aisecops_server.adapters.sqlite.changes import StateTable, StateTables
from aisecops_server.adapters.sqlite.edge_table import EdgeTable, SqliteEdges
from aisecops_server.adapters.sqlite.grant_reader import SqliteGrants
from aisecops_server.adapters.sqlite.grant_table import GrantTable
from aisecops_server.adapters.sqlite.keeping_rows import SqliteKeeping
from aisecops_server.adapters.sqlite.keeping_table import KeepingTable, emptied
from aisecops_server.adapters.sqlite.key_table import KeyTable
from aisecops_server.adapters.sqlite.nodes import NodeMemory, NodeReader
from aisecops_server.adapters.sqlite.notice_table import NoticeTable
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.reviews import SqliteReviews
from aisecops_server.adapters.sqlite.trace_facets import trace_facets
from aisecops_server.adapters.sqlite.trace_filling import fill
from aisecops_server.adapters.sqlite.trace_list import trace_page
from aisecops_server.adapters.sqlite.verification import Verification, startup_problem
from aisecops_server.adapters.sqlite.writer import MOST_ENTRIES, Writer
from aisecops_server.domain.approvals import approval_changes, notice
from aisecops_server.domain.budgets import budget_changes
from aisecops_server.domain.errors import AisecopsError, IntegrityError, InvalidRequestError, LogUnavailableError
from aisecops_server.domain.events.event import Event, StoredEvent
from aisecops_server.domain.grants import grant_changes
from aisecops_server.domain.log import edge_log, key_rotation
from aisecops_server.domain.log.backup import RESTORING
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.domain.log.log_keys import ROTATED
from aisecops_server.domain.log.merkle_proofs import consistency_path, inclusion_path, root_at
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
)
from aisecops_server.domain.plans.plan import Delegate
from aisecops_server.domain.retention import keeping
from aisecops_server.domain.traces.trace_facets import TraceFacets
from aisecops_server.domain.traces.trace_outline import TraceOutline

P = TypeVar("P")

_EVENTS_PER_READ = 256
# How far who verifies stands back, in a process that decides.
_BESIDE_A_WRITER = 10
_IDENTITY = "SELECT lower(hex(log_id)) FROM log_head"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What an operator, or a test of faults, may set.

    ``minimum_free_bytes``: with less than this left on the disk the log starts sealed. ``budget_owners``: of how many
    the budgets are kept in memory. ``vfs``: the SQLite file system layer, for injecting faults; ``None`` for the real
    one.
    """

    minimum_free_bytes: int = 64 * 1024 * 1024
    budget_owners: int = MOST_OWNERS
    vfs: str | None = None


class SqliteEventLog:
    """Implements ``EventLog`` and ``ProvenLog``; ``budgets`` are the books that it keeps.

    Create it with ``open_log``, or with ``open_log_read_only`` beside a running owner.
    """

    def __init__(
        self,
        readers: Readers,
        writer: Writer | None,
        lock: BinaryIO | None,
        *,
        approvals: ApprovalTable,
        budgets: BudgetTable | None = None,
        kept: KeepingTable | None = None,
    ) -> None:
        self.keeping = SqliteKeeping(readers, kept)
        self.budgets = SqliteBudgets(readers, budgets.mirror if budgets else None)
        self._readers = readers
        self._writer = writer
        self._lock = lock
        self._nodes = NodeMemory()
        self.agents = SqliteAgentActivity(readers)
        self.adoption = SqliteAdoption(readers)
        self.approvals = SqliteApprovals(readers, approvals)
        self.grants = SqliteGrants(readers)
        self.edges = SqliteEdges(readers)
        self.reviews = SqliteReviews(readers)

    async def append(self, record: DecisionRecord) -> Receipt:
        """Store one decision; durable when this returns."""
        return _receipt(await self._append([record]))

    async def append_many(self, records: Sequence[DecisionRecord]) -> list[Receipt | AisecopsError]:
        """Store many decisions in few commits; results in their order."""
        parts = [records[at : at + MOST_ENTRIES] for at in range(0, len(records), MOST_ENTRIES)]
        return [result for part in await asyncio.gather(*map(self._append_part, parts)) for result in part]

    async def append_event(self, event: Event) -> Receipt:
        """Store one event that belongs to no decision."""
        return _receipt(await self._append([event]))

    async def append_change(self, record: ChangeRecord) -> Receipt:
        """Store events with the changes of state that they tell of, or neither."""
        return _receipt(await self._append([record]))

    async def replayed(self, principal_id: str, key: str) -> StoredDecision | None:
        """Return the decision stored under an idempotency key, if any."""
        return await self._readers.run(partial(stored.retry_of, principal_id=principal_id, key=key))

    async def decision(self, decision_id: str) -> StoredDecision:
        """Return one decision."""
        return await self._readers.run(partial(stored.decision_of, decision_id=decision_id))

    async def trace(self, trace_id: str) -> StoredTrace:
        """Return everything under one trace id."""
        return await self._readers.run(partial(stored.trace_of, trace_id=trace_id))

    async def outline(self, trace_id: str) -> TraceOutline:
        """Return what the rows of a trace say."""
        return await self._readers.run(partial(outlines.outline_of_trace, trace_id=trace_id))

    async def event(self, trace_id: str, event_id: str) -> PlacedEvent:
        """Return one event of a trace, with its decision."""
        return await self._readers.run(partial(stored.event_of, trace_id=trace_id, event_id=event_id))

    async def traces(self, narrow: TraceFilter, *, page_size: int, page_token: str) -> TracePage:
        """Return a page of traces, newest first by when they began; ``to_ns`` is exclusive."""
        query = partial(trace_page, narrow=narrow, page_size=page_size, page_token=page_token)
        return await self._readers.run(query)

    async def facets(self, narrow: TraceFilter, fields: Sequence[str]) -> TraceFacets:
        """Return how many traces match, and of each of ``fields`` how many have each value."""
        return await self._readers.run(partial(trace_facets, narrow=narrow, fields=fields))

    async def acted(self, agent_id: str, trace_id: str, *, below: Sequence[Delegate]) -> bool:
        """Return whether that agent was allowed a plan in that trace, with exactly ``below`` above itself."""
        query = partial(delegations.acted, agent_id=agent_id, trace_id=trace_id, below=below)
        return await self._readers.run(query)

    async def events(self, *, from_index: int, follow: bool, trace_id: str) -> AsyncGenerator[StoredEvent, None]:
        """Yield events in log order from an index on; with ``follow``, go on until the log closes.

        Raises:
            LogUnavailableError: a log that is only read cannot be followed; ask the process that writes it.
        """
        with self._following(follow=follow) as appended:
            while True:
                # Cleared before reading, so that what is appended meanwhile sets it again.
                appended.clear()
                is_last = not follow or self._is_closed
                if follow and self._readers.refusing:
                    return
                part = await self._events(from_index, trace_id)
                for event in part:
                    yield event
                    from_index = event.index + 1
                if len(part) == _EVENTS_PER_READ:
                    continue
                if is_last:
                    return
                await appended.wait()

    async def head(self) -> LogHead:
        """Return the log's size and root, of what is durable."""
        frontier = await self._readers.run(load_frontier)
        return LogHead(frontier.size, frontier.root())

    async def identity(self) -> str:
        """Return what tells this log from every other."""
        return await self._readers.run(lambda connection: str(connection.execute(_IDENTITY).get))

    async def head_at(self, size: int) -> LogHead:
        """Return the head that the log had with ``size`` leaves."""
        return LogHead(size, await self._prove(lambda node: root_at(node, size), size))

    async def inclusion(self, index: int, *, size: int) -> list[bytes]:
        """Return the audit path of an event in the tree of that size."""
        return await self._prove(lambda node: inclusion_path(node, index=index, size=size), size)

    async def consistency(self, old_size: int, *, size: int) -> list[bytes]:
        """Return the proof that the log of ``size`` extends that of ``old_size``; empty from size 0."""
        if old_size == 0:
            return []
        return await self._prove(lambda node: consistency_path(node, old_size=old_size, size=size), size)

    async def rotations(self) -> list[StoredEvent]:
        """Return the events in which the log's key was followed by another, oldest first."""
        return await self._readers.run(partial(stored.events_of, type=ROTATED))

    async def grant_key_events(self) -> list[StoredEvent]:
        """Return the events in which the key of grants was replaced, here or at an edge, oldest first."""
        return await self._readers.run(stored.grant_key_events)

    async def key_rotations(self, use: KeyUse) -> list[StoredEvent]:
        """Return the events in which the key for ``use`` was replaced here, oldest first."""
        return await self._readers.run(partial(stored.key_rotations, use=use))

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> LogReport:
        """Recompute every leaf, the root, and what is derived from them; beside the running writer."""
        loop = asyncio.get_running_loop()

        def report(done: int, total: int) -> None:
            if progress:
                loop.call_soon_threadsafe(progress, done, total)

        helpers = self._readers.helpers(niceness=_BESIDE_A_WRITER if self._writer else 0)
        return await self._readers.scan(lambda connection: Verification(connection, report, helpers).run())

    @property
    def sealed(self) -> str:
        """Return why the log takes nothing, or an empty string."""
        return self._writer.sealed if self._writer else "it was opened for reading only"

    def seal(self, why: str) -> None:
        """Take nothing any more."""
        if self._writer:
            self._writer.seal(why)

    async def close(self) -> None:
        """Finish what was accepted and close."""
        if self._writer:
            await asyncio.to_thread(self._writer.stop)
        self._readers.refuse()
        await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._readers.close()
        if self._writer:
            self._writer.disconnect()
        if self._lock:
            self._lock.close()

    async def _prove(self, prove: Callable[[NodeReader], P], size: int) -> P:
        def query(connection: apsw.Connection) -> P:
            if not 0 <= size <= load_frontier(connection).size:
                raise InvalidRequestError(f"the log never had {size} events", field="size")
            try:
                return prove(NodeReader(connection, self._nodes))
            except ValueError as error:
                raise InvalidRequestError(str(error), hint="Indices count from 0", field="index") from error

        return await self._readers.run(query)

    async def _append(self, entries: Sequence[Entry]) -> list[Result]:
        if self._writer is None:
            raise LogUnavailableError(
                "the log was opened for reading only", hint="Append through the process that owns it"
            )
        return await self._writer.append(entries)

    async def _append_part(self, records: Sequence[DecisionRecord]) -> list[Result]:
        try:
            return await self._append(records)
        except LogUnavailableError as error:
            return [error for _ in records]

    @property
    def _is_closed(self) -> bool:
        return self._writer is None or self._writer.closed

    @contextlib.contextmanager
    def _following(self, *, follow: bool) -> Iterator[asyncio.Event]:
        if not follow:
            yield asyncio.Event()
        elif self._writer is None:
            raise LogUnavailableError(
                "a log that is only read cannot be followed", hint="Ask the control plane: 'aisecops log tail'"
            )
        else:
            with self._writer.following() as appended:
                yield appended

    async def _events(self, from_index: int, trace_id: str) -> list[StoredEvent]:
        query = partial(stored.events_from, from_index=from_index, trace_id=trace_id, limit=_EVENTS_PER_READ)
        return await self._readers.run(query)


def open_log(path: Path, options: LogOptions = LogOptions()) -> SqliteEventLog:
    """Open the log at ``path`` as its only writer, making it when it is not there.

    A log that does not verify, or with too little room, opens sealed: it can be read and nothing else.

    Raises:
        IntegrityError: the file is damaged beyond reading.
        LogUnavailableError: another process owns it, or it cannot be opened.
    """
    with database.translated("making its directory"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (path.parent / RESTORING).exists():
        raise LogUnavailableError(
            f"a restore into {path.parent} was cut off, or is under way", hint="Empty the directory and restore again"
        )
    lock = database.lock(path)
    approvals = ApprovalTable()
    tables: dict[str, StateTable] = {
        approval_changes.KIND: approvals,
        grant_changes.KIND: GrantTable(),
        notice.KIND: NoticeTable(),
        edge_log.KIND: EdgeTable(),
        key_rotation.KIND: KeyTable(),
    }
    try:
        writer, budgets, kept = _writer(path, options, tables)
    except BaseException:
        lock.close()
        raise
    return SqliteEventLog(Readers(path, vfs=options.vfs), writer, lock, approvals=approvals, budgets=budgets, kept=kept)


def open_log_read_only(path: Path) -> SqliteEventLog:
    """Open the log at ``path`` for reading, whether or not a process writes it.

    Raises:
        LogUnavailableError: there is no log.
    """
    if not path.is_file():
        raise LogUnavailableError(f"there is no log at {path}", hint="Start the control plane once, or name another")
    return SqliteEventLog(Readers(path), None, None, approvals=ApprovalTable())


def _writer(
    path: Path, options: LogOptions, tables: Mapping[str, StateTable]
) -> tuple[Writer, BudgetTable | None, KeepingTable]:
    connection = database.open_for_writing(path, vfs=options.vfs)
    kept = KeepingTable(connection)
    try:
        database.migrate(connection, schema.MIGRATIONS, application_id=schema.APPLICATION_ID)
        with database.translated("emptying its write-ahead log"):
            # It may hold what was erased just before an earlier process ended.
            emptied(connection)
        problem = _problem(connection)
        if not problem:
            with database.translated("filling the list of traces"):
                fill(connection, lambda: connection)
        with database.translated("measuring the disk"):
            free = database.free_bytes(path)
        budgets, unread = _budgets(connection, options) if not problem else (None, "")
    except BaseException:
        connection.close()
        raise
    if budgets is None:
        sealed = f"{IntegrityError.reason}: {problem or unread}"
        return Writer(connection, StateTables(tables), sealed=sealed), None, kept
    sealed = ""
    if free < options.minimum_free_bytes:
        wanted = options.minimum_free_bytes >> 20
        sealed = f"only {free >> 20} MB are free where the log lives, {wanted} MB are needed"
    tables = {**tables, budget_changes.KIND: budgets, keeping.KIND: kept}
    return Writer(connection, StateTables(tables), sealed=sealed), budgets, kept


def _budgets(connection: apsw.Connection, options: LogOptions) -> tuple[BudgetTable | None, str]:
    try:
        with database.translated("reading its budgets"):
            return BudgetTable(connection, most_owners=options.budget_owners), ""
    except IntegrityError as error:
        return None, error.message


def _problem(connection: apsw.Connection) -> str:
    try:
        with database.translated("checking it"):
            return startup_problem(connection)
    except IntegrityError as error:
        return error.message


def _receipt(results: Sequence[Result]) -> Receipt:
    [result] = results
    if isinstance(result, AisecopsError):
        raise result
    return result
