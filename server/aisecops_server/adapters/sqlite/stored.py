"""Reading things back: decisions, traces, events. What is read is checked against its leaf before it is given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import apsw

from aisecops_server.adapters.sqlite.key_table import GRANT_KEYS, SIGNING_KEYS
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.adapters.sqlite.trace_index import SUMMARIES, summary_of
from aisecops_server.domain.budgets.budget import Budget
from aisecops_server.domain.decisions.decision import DecisionId
from aisecops_server.domain.errors import IntegrityError, NotFoundError
from aisecops_server.domain.events.event import CONCLUDED, Event, EventId, Stage, StoredEvent, commits_to, details_in
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.domain.log.merkle import leaf_hash
from aisecops_server.domain.log.record import (
    PlacedEvent,
    Receipt,
    StoredDecision,
    StoredTrace,
    TraceSummary,
    no_such_event,
)

_EVENT = "e.idx, event_id, trace_id, plan_id, decision_id, stage, type, occurred_at, leaf_hash, body, y.bytes"
_WITH_PAYLOAD = "LEFT JOIN payload AS y ON y.idx = e.idx"

_DECISION = """
    SELECT d.outcome_idx, d.decision_id, d.request_digest, d.document_digest, e.event_id, e.leaf_hash, e.body, y.bytes,
        t.bytes
    FROM decision AS d
    LEFT JOIN event AS e ON e.idx = d.outcome_idx
    LEFT JOIN payload AS y ON y.idx = d.outcome_idx
    LEFT JOIN document AS t ON t.digest = d.document_digest
    WHERE"""
# Of a trace, whose events are read anyway.
DECIDED = """
    SELECT d.outcome_idx, d.decision_id, d.request_digest, d.document_digest, t.bytes
    FROM decision AS d LEFT JOIN document AS t ON t.digest = d.document_digest
    WHERE d.trace = ? ORDER BY d.outcome_idx"""
_ONE_EVENT = f"SELECT {_EVENT} FROM event AS e {_WITH_PAYLOAD}"  # noqa: S608 - constant parts
_BEFORE = """
    SELECT event_id FROM event WHERE trace_id = ? AND trace_id <> '' AND idx < ? ORDER BY idx DESC LIMIT 1"""
_AFTER = "SELECT event_id FROM event WHERE trace_id = ? AND trace_id <> '' AND idx > ? ORDER BY idx LIMIT 1"
_STAGES: Mapping[object, Stage] = {stage.value: stage for stage in Stage}
# Beyond any number of events.
_EVERY = 1 << 62
_ERASED = """
    SELECT 1 FROM event AS e JOIN erasure AS x ON x.trace_id = e.trace_id AND e.idx <= x.through WHERE e.idx = ?"""
# The condition of the index, word for word.
_OF_KEEPING = "type IN ('payload.erased', 'hold.added', 'hold.release_asked', 'hold.released', 'log.key_rotated')"
_RETRY = """d.outcome_idx = (SELECT outcome_idx FROM idempotency WHERE principal_id = ? AND key = ?)"""


def decision_of(connection: apsw.Connection, decision_id: str) -> StoredDecision:
    """Return one decision.

    Raises:
        NotFoundError: there is none.
        IntegrityError: what is stored does not verify.
    """
    row = connection.execute(f"{_DECISION} d.decision_id = ?", (decision_id,)).get
    if row is None:
        raise NotFoundError(f"there is no decision {decision_id}", id=decision_id)
    return _stored_decision(connection, row)


def retry_of(connection: apsw.Connection, principal_id: str, key: str) -> StoredDecision | None:
    """Return the decision stored under an idempotency key, if any.

    Raises:
        IntegrityError: what is stored does not verify.
    """
    row = connection.execute(f"{_DECISION} {_RETRY}", (principal_id, key)).get
    return None if row is None else _stored_decision(connection, row)


def trace_of(connection: apsw.Connection, trace_id: str) -> StoredTrace:
    """Return everything under one trace id.

    Raises:
        NotFoundError: there is nothing.
        IntegrityError: what is stored does not verify.
    """
    events = events_from(connection, from_index=0, trace_id=trace_id, limit=_EVERY) if trace_id else []
    if not events:
        raise NotFoundError(f"there is no trace {trace_id}", hint="List traces with 'aisecops trace list'", id=trace_id)
    row = connection.execute(f"{SUMMARIES} t.trace_id = ?", (trace_id,)).get
    if row is None:
        return StoredTrace(_undecided(trace_id, events), (), tuple(events))
    decisions = connection.execute(DECIDED, (row[0],)).fetchall()
    ends = {decision[0] for decision in decisions}
    concluded: Mapping[object, StoredEvent] = {event.index: event for event in events if event.index in ends}
    read = (_concluded_by(connection, decision, concluded.get(decision[0])) for decision in decisions)
    return StoredTrace(summary_of(row[1:]), tuple(read), tuple(events))


def event_of(connection: apsw.Connection, *, trace_id: str, event_id: str) -> PlacedEvent:
    """Return one event of a trace, with its decision.

    Raises:
        NotFoundError: the trace has no such event.
        IntegrityError: what is stored does not verify.
    """
    row = connection.execute(f"{_ONE_EVENT} WHERE event_id = ?", (event_id,)).get
    if row is None or not trace_id or row[2] != trace_id:
        raise no_such_event(event_id)
    found = _stored_event(row)
    before, after = (connection.execute(query, (trace_id, found.index)).get or "" for query in (_BEFORE, _AFTER))
    decision = connection.execute(f"{_DECISION} d.decision_id = ?", (found.event.decision_id,)).get
    return PlacedEvent(found, before, after, _stored_decision(connection, decision) if decision else None)


def events_from(connection: apsw.Connection, *, from_index: int, trace_id: str, limit: int) -> list[StoredEvent]:
    """Return events in log order from an index on, of one trace unless ``trace_id`` is empty.

    Raises:
        IntegrityError: an event does not verify.
    """
    narrow = "trace_id = ? AND trace_id <> '' AND" if trace_id else ""
    query = f"SELECT {_EVENT} FROM event AS e {_WITH_PAYLOAD} WHERE {narrow} e.idx >= ? ORDER BY e.idx LIMIT ?"  # noqa: S608 - constant parts
    bindings = (*([trace_id] if trace_id else []), from_index, limit)
    return [_stored_event(row) for row in connection.execute(query, bindings)]


def events_of(connection: apsw.Connection, type: str) -> list[StoredEvent]:
    """Return the events of a type that is rare, as those of erasures, holds and keys are, in log order.

    Raises:
        IntegrityError: an event does not verify.
    """
    found = f"FROM event AS e INDEXED BY event_of_keeping {_WITH_PAYLOAD}"
    query = f"SELECT {_EVENT} {found} WHERE {_OF_KEEPING} ORDER BY e.idx"
    read = (_stored_event(row) for row in connection.execute(query))
    return [stored for stored in read if stored.event.type == type]


def grant_key_events(connection: apsw.Connection) -> list[StoredEvent]:
    """Return the events in which a key of grants was replaced, in log order.

    Raises:
        IntegrityError: an event does not verify.
    """
    query = (
        f"SELECT {_EVENT} FROM event AS e INDEXED BY event_of_grant_keys {_WITH_PAYLOAD}"  # noqa: S608 - constant parts
        " WHERE type IN ('grant_key.rotated', 'edge.grant_key_rotated') ORDER BY e.idx"
    )
    return [_stored_event(row) for row in connection.execute(query)]


def key_rotations(connection: apsw.Connection, use: KeyUse) -> list[StoredEvent]:
    """Return the events in which the key for ``use`` was replaced here, in log order.

    Raises:
        IntegrityError: an event does not verify.
    """
    index, among = GRANT_KEYS if use is KeyUse.GRANT else SIGNING_KEYS
    query = f"SELECT {_EVENT} FROM event AS e {index} {_WITH_PAYLOAD} WHERE {among} AND type = ? ORDER BY e.idx"  # noqa: S608 - constant parts
    return [_stored_event(row) for row in connection.execute(query, (use.rotated,))]


def rollout_events(connection: apsw.Connection, *, from_index: int, limit: int) -> list[StoredEvent]:
    """Return events by which rollouts are counted and ended, in log order from an index on.

    Raises:
        IntegrityError: an event does not verify.
    """
    query = (
        f"SELECT {_EVENT} FROM event AS e {_WITH_PAYLOAD} WHERE type IN ('rollout.compared', 'rollout.promoted',"  # noqa: S608 - constant parts
        " 'rollout.rolled_back', 'rollout.aborted') AND e.idx >= ? ORDER BY e.idx LIMIT ?"
    )
    return [_stored_event(row) for row in connection.execute(query, (from_index, limit))]


def incidents(connection: apsw.Connection, conditions: Mapping[str, str | int], *, limit: int) -> list[StoredEvent]:
    """Return the newest incidents that meet all of ``conditions`` (SQL text and its one value).

    Raises:
        IntegrityError: an event does not verify.
    """
    narrow = " AND ".join(["type >= 'incident.' AND type < 'incident/'", *conditions])
    found = f"FROM event AS e INDEXED BY event_incident {_WITH_PAYLOAD}"
    query = f"SELECT {_EVENT} {found} WHERE {narrow} ORDER BY e.idx DESC LIMIT ?"
    return [_stored_event(row) for row in connection.execute(query, (*conditions.values(), limit))]


def remarks_on(connection: apsw.Connection, budget: Budget, *, limit: int) -> list[StoredEvent]:
    """Return the events in which people adjusted a budget or it was overrun, newest first.

    Raises:
        IntegrityError: an event does not verify.
    """
    # The condition is the one of an index that holds no other events.
    query = (
        f"SELECT {_EVENT} FROM event AS e {_WITH_PAYLOAD}"  # noqa: S608 - constant parts
        " WHERE type IN ('budget.adjusted', 'budget.overrun') AND instr(body, ?) > 0 ORDER BY e.idx DESC LIMIT ?"
    )
    named = canonical_bytes({"budget": budget.key})[1:-1]
    return [_stored_event(row) for row in connection.execute(query, (named, limit))]


def verdicts_of(connection: apsw.Connection, replay_id: str) -> list[StoredEvent]:
    """Return the events in which somebody judged what a replay changes, in log order; more of other replays may be in.

    Raises:
        IntegrityError: an event does not verify.
    """
    query = (
        f"SELECT {_EVENT} FROM event AS e INDEXED BY event_of_reviews {_WITH_PAYLOAD}"  # noqa: S608 - constant parts
        " WHERE type = 'replay.judged' AND instr(body, ?) > 0 ORDER BY e.idx"
    )
    named = canonical_bytes({"replay_id": replay_id})[1:-1]
    return [_stored_event(row) for row in connection.execute(query, (named,))]


def _stored_event(row: Row) -> StoredEvent:
    index, event_id, trace_id, plan_id, decision_id, stage, kind, occurred_at, leaf, body, payload = row
    require_leaf(index, leaf, body)
    require_payload(index, body, payload)
    event = Event(
        id=EventId(event_id),
        trace_id=trace_id,
        plan_id=plan_id,
        decision_id=decision_id,
        stage=stage_of(stage, index),
        type=kind,
        occurred_at_ns=occurred_at,
        body=body,
        payload=payload or b"",
    )
    return StoredEvent(event, index, leaf)


def _stored_decision(connection: apsw.Connection, row: Row) -> StoredDecision:
    index, _, _, _, _, leaf, body, payload, _ = row
    require_leaf(index, leaf, body)
    require_payload(index, body, payload)
    return _checked_decision(connection, row)


def _concluded_by(connection: apsw.Connection, row: Row, end: StoredEvent | None) -> StoredDecision:
    """Return a decision of a trace by its row and the event that concluded it, which was checked when it was read."""
    index, decision_id, request_digest, document_digest, document = row
    if end is None:
        raise damaged(index, "it concludes no decision of its trace")
    event = end.event
    told = (event.id, end.leaf_hash, event.body, event.payload)
    return _checked_decision(connection, (index, decision_id, request_digest, document_digest, *told, document))


def _checked_decision(connection: apsw.Connection, row: Row) -> StoredDecision:
    index, decision_id, request_digest, document_digest, event_id, leaf, body, payload, document = row
    require_document(connection, index, document_digest, document)
    return StoredDecision(
        decision_id=DecisionId(decision_id),
        details=details_in(CONCLUDED, body, payload),
        document=document or b"",
        receipt=Receipt(EventId(event_id), index, leaf),
        request_digest=request_digest or "",
    )


def stage_of(value: object, index: object) -> Stage:
    """Return the stage of that name.

    Raises:
        IntegrityError: there is none.
    """
    # An enumeration takes longer to find its own, and a trace may have a hundred thousand.
    found = _STAGES.get(value)
    if found is None:
        raise damaged(index, f"it names an unknown stage {value!r}")
    return found


def require_document(connection: apsw.Connection, index: object, digest: bytes, document: bytes | None) -> None:
    """Check what a decision was made on, which is not there once it was erased.

    Raises:
        IntegrityError: it is not what was stored.
    """
    is_there = document is not None or connection.execute(_ERASED, (index,)).get
    if not is_there or (document is not None and hashlib.sha256(document).digest() != digest):
        raise damaged(index, "its document is missing or altered")


def require_leaf(index: object, leaf: object, body: object) -> None:
    """Check a stored body against its leaf.

    Raises:
        IntegrityError: it is not what was appended.
    """
    if not isinstance(body, bytes) or leaf_hash(body) != leaf:
        raise damaged(index, "its body does not match its leaf hash")


def require_payload(index: object, body: bytes, payload: object) -> None:
    """Check a stored payload against the body that commits to it.

    Raises:
        IntegrityError: it is not what was appended.
    """
    if payload is not None and (not isinstance(payload, bytes) or not commits_to(body, payload)):
        raise damaged(index, "its payload is not the one that it commits to")


def damaged(index: object, why: str) -> IntegrityError:
    """Return what is raised where an event is not what was appended, or what it needs is not."""
    return IntegrityError(
        f"event {index} does not verify: {why}",
        hint="Keep the database as evidence and run 'aisecops log verify'",
        index=str(index),
    )


def _undecided(trace_id: str, events: list[StoredEvent]) -> TraceSummary:
    """Summarise a trace in which nothing was decided, such as a request that was refused."""
    times = [stored.event.occurred_at_ns for stored in events]
    return TraceSummary(
        trace_id=trace_id,
        agent_id="",
        outcome="",
        mode="",
        intent="",
        tools=(),
        rules=(),
        lowest_trust="",
        bundle_revision="",
        decisions=0,
        started_at_ns=min(times),
        last_at_ns=max(times),
        agents=(),
    )
