"""One transaction of the log: indices, leaves, documents, index entries and the head, all or nothing.

Owns the order of things inside a transaction. Only the writer's thread uses it. A retry is recognised here and
nowhere else, because only here nothing can come between looking and storing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import apsw

from aisecops_server.adapters.sqlite import agent_activity
from aisecops_server.adapters.sqlite.changes import StateTables
from aisecops_server.adapters.sqlite.schema import SUBTREE_HEIGHT, SUBTREE_LEAVES
from aisecops_server.adapters.sqlite.statements import Question, Row, insert, select_in, write
from aisecops_server.adapters.sqlite.trace_index import TraceIndex
from aisecops_server.domain.errors import AisecopsError, IdempotencyConflictError, IntegrityError
from aisecops_server.domain.events.event import Event, EventId
from aisecops_server.domain.events.payload import SALT_BYTES
from aisecops_server.domain.log.merkle import HASH_BYTES, Frontier, leaf_hash
from aisecops_server.domain.log.record import ChangeRecord, DecisionRecord, Idempotency, Receipt

Entry = DecisionRecord | ChangeRecord | Event
Result = Receipt | AisecopsError
_SALTS_DRAWN = 64

_RETRIES = """
    SELECT i.principal_id, i.key, i.request_digest, e.event_id, e.idx, e.leaf_hash
    FROM idempotency AS i JOIN event AS e ON e.idx = i.outcome_idx
    WHERE (i.principal_id, i.key) IN"""


@dataclass(slots=True)
class _Rows:
    """What one transaction is going to insert."""

    events: list[Row] = field(default_factory=list)
    payloads: list[Row] = field(default_factory=list)
    subtrees: list[Row] = field(default_factory=list)
    placed: list[tuple[DecisionRecord, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Answered:
    """What an idempotency key stands for."""

    request_digest: str
    receipt: Receipt

    def to(self, retry: Idempotency) -> Result:
        try:
            return self.receipt.for_retry(
                key=retry.key, request_digest=retry.request_digest, stored_digest=self.request_digest
            )
        except IdempotencyConflictError as error:
            return error


class _Salts:
    """Salts that nobody can guess, drawn many at once."""

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        self._draw = draw
        self._drawn = b""

    def next(self) -> bytes:
        if not self._drawn:
            self._drawn = self._draw(_SALTS_DRAWN * SALT_BYTES)
        salt, self._drawn = self._drawn[:SALT_BYTES], self._drawn[SALT_BYTES:]
        return salt


def load_frontier(connection: apsw.Connection) -> Frontier:
    """Return the stored right edge of the tree.

    Raises:
        ValueError: what is stored is no right edge.
    """
    size, peaks = connection.execute("SELECT size, peaks FROM log_head").get
    return Frontier(size, [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)])


class Appender:
    """Appends groups of entries to the log through one connection.

    A change is applied before its entry gets a place in the log, because one that is refused gets none.
    """

    def __init__(self, connection: apsw.Connection, state: StateTables) -> None:
        """Continue where the log ends.

        Raises:
            ValueError: the stored head is no head of a tree.
        """
        self._connection = connection
        self._frontier = load_frontier(connection)
        self._traces = TraceIndex(connection)
        self._state = state
        self._salts = _Salts(self._chance)

    def commit(self, entries: Sequence[Entry]) -> list[Result]:
        """Store ``entries`` in one durable transaction; results in their order.

        Whatever SQLite raises is raised on, and then nothing is stored.
        """
        try:
            frontier = self._begin(entries)
            results = self._apply(entries, frontier)
            self._state.store(self._connection)
            self._end(results)
        except BaseException:
            self._traces.forget()
            self._state.forget()
            with contextlib.suppress(apsw.Error):
                self._connection.execute("ROLLBACK")
            raise
        self._frontier = frontier
        self._state.committed()
        return results

    def _chance(self, count: int) -> bytes:
        """Return bytes that nobody can guess: SQLite's chance is a cipher that the system seeds."""
        drawn: bytes = self._connection.execute("SELECT randomblob(?)", (count,)).get
        return drawn

    def _begin(self, entries: Sequence[Entry]) -> Frontier:
        """Begin a transaction in which nobody else appends, and return the right edge to go on from."""
        del entries
        self._connection.execute("BEGIN IMMEDIATE")
        return self._frontier.copy()

    def _end(self, results: Sequence[Result]) -> None:
        """Make durable what ``results`` tell of."""
        del results
        self._connection.execute("COMMIT")

    def _apply(self, entries: Sequence[Entry], frontier: Frontier) -> list[Result]:
        answered = self._answered(entries)
        rows = _Rows()
        results = [self._place(entry, frontier, rows, answered) for entry in entries]
        if rows.events:
            self._store(rows, frontier)
        return results

    def _place(
        self, entry: Entry, frontier: Frontier, rows: _Rows, answered: dict[tuple[str, str], _Answered]
    ) -> Result:
        if isinstance(entry, Event):
            return self._place_event(entry, frontier, rows)
        retry = entry.idempotency if isinstance(entry, DecisionRecord) else None
        if retry and (known := answered.get((retry.principal_id, retry.key))):
            return known.to(retry)
        if problem := _problem(entry) or self._state.apply(self._connection, entry.changes):
            return problem
        receipt = [self._place_event(event, frontier, rows) for event in entry.events][-1]
        if isinstance(entry, DecisionRecord):
            rows.placed.append((entry, receipt.log_index))
        if retry:
            answered[retry.principal_id, retry.key] = _Answered(retry.request_digest, receipt)
        return receipt

    def _place_event(self, made: Event, frontier: Frontier, rows: _Rows) -> Receipt:
        event = made.salted(self._salts.next()) if made.payload else made
        index, leaf = frontier.size, leaf_hash(event.body)
        if event.payload:
            rows.payloads.append((index, event.payload))
        completed = frontier.append(leaf)
        if len(completed) > SUBTREE_HEIGHT:
            rows.subtrees.append((index // SUBTREE_LEAVES, completed[SUBTREE_HEIGHT]))
        facts = (event.id, event.trace_id, event.plan_id, event.decision_id, event.stage.value, event.type)
        # Only what the body proves is kept: it names microseconds.
        at = event.occurred_at_ns // 1000 * 1000
        rows.events.append((index, *facts, at, leaf, event.body))
        return Receipt(event.id, index, leaf)

    def _questions(self, entries: Sequence[Entry]) -> list[Question]:
        """Return what storing ``entries`` is going to ask."""
        records = [entry for entry in entries if isinstance(entry, DecisionRecord)]
        retries = [Question(_RETRIES, keys=tuple(keys))] if (keys := _retry_keys(entries)) else []
        return [*retries, *self._traces.questions(records)]

    def _answered(self, entries: Sequence[Entry]) -> dict[tuple[str, str], _Answered]:
        return {
            (principal, key): _Answered(request, Receipt(EventId(event_id), idx, leaf))
            for principal, key, request, event_id, idx, leaf in select_in(
                self._connection, _RETRIES, _retry_keys(entries)
            )
        }

    def _store(self, rows: _Rows, frontier: Frontier) -> None:
        connection = self._connection
        if rows.placed:
            # First, because it asks: what is only written can go with the commit.
            self._store_decisions(rows.placed)
        insert(connection, "INSERT INTO event", rows.events)
        if rows.payloads:
            insert(connection, "INSERT INTO payload", rows.payloads)
        if rows.subtrees:
            insert(connection, "INSERT INTO subtree", rows.subtrees)
        write(connection, "UPDATE log_head SET size = ?, peaks = ?", (frontier.size, b"".join(frontier.peaks)))

    def _store_decisions(self, placed: Sequence[tuple[DecisionRecord, int]]) -> None:
        connection = self._connection
        numbers = self._traces.add([record for record, _ in placed])
        documents = {_digest(record): record.document for record, _ in placed}
        insert(connection, "INSERT OR IGNORE INTO document", list(documents.items()))
        insert(connection, "INSERT INTO decision", [_decision_row(*place, numbers) for place in placed])
        agent_activity.count(connection, [record for record, _ in placed])
        retries = [_idempotency_row(record.idempotency, last) for record, last in placed if record.idempotency]
        if retries:
            insert(connection, "INSERT INTO idempotency", retries)


def _retry_keys(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    keys = {
        (entry.idempotency.principal_id, entry.idempotency.key)
        for entry in entries
        if isinstance(entry, DecisionRecord) and entry.idempotency
    }
    return sorted(keys)


def _problem(record: DecisionRecord | ChangeRecord) -> IntegrityError | None:
    if not record.events:
        return IntegrityError("a record without events cannot be stored")
    if isinstance(record, DecisionRecord) and _digest(record).hex() != record.decision.document_digest:
        return IntegrityError("the document is not the one that the decision names")
    return None


def _digest(record: DecisionRecord) -> bytes:
    return hashlib.sha256(record.document).digest()


def _decision_row(record: DecisionRecord, last: int, numbers: dict[str, int]) -> Row:
    decision, retry = record.decision, record.idempotency
    number = numbers[decision.trace_id]
    return (last, decision.id, number, _digest(record), retry.request_digest if retry else None)


def _idempotency_row(retry: Idempotency, outcome_index: int) -> Row:
    return (retry.principal_id, retry.key, retry.request_digest, outcome_index)
