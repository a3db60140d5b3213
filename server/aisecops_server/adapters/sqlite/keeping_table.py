"""Erasing, and what forbids it, inside the log's transaction; and reading what is held and what was erased.

The writer's thread alone uses ``KeepingTable``. What is deleted is overwritten in the file (``secure_delete``), and
after the commit the write-ahead log, which still has the pages of before, is emptied. A reader in the middle of a
query can hold that up; it is tried again with every commit until nothing is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import apsw
import orjson

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.adapters.sqlite.trace_proofs import proven_traces
from aisecops_server.domain.errors import (
    AisecopsError,
    ContendedError,
    HeldError,
    IntegrityError,
    NotFoundError,
)
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.payload import blanked
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.retention.keeping import ChangeHold, ErasePayloads, Hold, hold_of

_TRACE = "SELECT number, agents FROM trace WHERE trace_id = ?"
_EVENTS = "SELECT idx FROM event WHERE trace_id = :trace AND trace_id <> '' AND idx <= :through"
_DECISIONS = "FROM decision WHERE trace = :number AND outcome_idx"
_HOLDING = """
    SELECT DISTINCT h.hold_id FROM hold_subject AS s JOIN hold AS h ON h.hold_id = s.hold_id
    WHERE h.released = 0 AND (
        (s.held_by = 'trace' AND s.subject = :trace)
        OR (s.held_by = 'agent' AND s.subject IN (SELECT value FROM json_each(:agents)))
    ) ORDER BY h.hold_id"""
_APPROVALS = """
    SELECT a.approval_id, a.state IN ('REQUESTED', 'GRANTED') OR EXISTS (
        SELECT 1 FROM notice AS n WHERE n.approval_id = a.approval_id AND n.state = 'PENDING'
    ), a.request
    FROM approval AS a
    WHERE a.agent_id IN (SELECT value FROM json_each(:agents))
    AND CAST(a.request AS TEXT) ->> '$.trace_id' = :trace"""
_OPEN_GRANT = """
    SELECT grant_id FROM execution_grant WHERE trace_id = :trace AND state IN ('issued', 'redeemed') LIMIT 1"""

_ERASING = (
    f"DELETE FROM payload WHERE idx IN ({_EVENTS})",  # noqa: S608 - constant parts
    (
        f"DELETE FROM document WHERE digest IN (SELECT document_digest {_DECISIONS} <= :through)"  # noqa: S608 - constant parts
        f" AND digest NOT IN (SELECT document_digest {_DECISIONS} > :through)"
    ),
    f"DELETE FROM idempotency WHERE outcome_idx IN (SELECT outcome_idx {_DECISIONS} <= :through)",  # noqa: S608 - constant parts
    "UPDATE decision SET request_digest = NULL WHERE trace = :number AND outcome_idx <= :through",
)


class KeepingTable:
    """Implements ``StateTable`` for erasures and holds."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._applied = self._left = False

    @property
    def is_overwritten(self) -> bool:
        """Return whether nothing that was erased is left in the write-ahead log."""
        return not self._left

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change."""
        match change:
            case ErasePayloads():
                self._applied = True
                return _erase(connection, change)
            case ChangeHold():
                return _change_hold(connection, change)
            case _:
                return IntegrityError(f"{type(change).__name__} is no change of what is kept")

    def committed(self) -> None:
        """Empty the write-ahead log after an erasure, as soon as no reader needs it."""
        self._left, self._applied = self._left or self._applied, False
        if self._left:
            self._left = not emptied(self._connection)

    def forget(self) -> None:
        """Nothing was erased."""
        self._applied = False


def emptied(connection: apsw.Connection) -> bool:
    """Write everything into the database and empty its write-ahead log; return whether nothing was in the way."""
    patience = int(connection.pragma("busy_timeout"))
    connection.set_busy_timeout(0)
    try:
        with contextlib.suppress(apsw.BusyError, apsw.FullError):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            return True
        return False
    finally:
        connection.set_busy_timeout(patience)


def holding(connection: apsw.Connection, trace_id: str, agents: str) -> list[str]:
    """Return the ids of the holds that name a trace or one of its ``agents`` (a JSON list)."""
    return [hold_id for (hold_id,) in connection.execute(_HOLDING, {"trace": trace_id, "agents": agents})]


def stored_hold(connection: apsw.Connection, hold_id: str) -> Hold:
    """Return one hold.

    Raises:
        NotFoundError: there is none.
    """
    row = connection.execute("SELECT body FROM hold WHERE hold_id = ?", (hold_id,)).get
    if not isinstance(row, bytes):
        raise NotFoundError(f"there is no hold {hold_id}", hint="List them with 'aisecops log hold list'", id=hold_id)
    return hold_of(orjson.loads(row))


def _erase(connection: apsw.Connection, change: ErasePayloads) -> AisecopsError | None:
    row = connection.execute(_TRACE, (change.trace_id,)).get
    number, agents = row if row is not None else (-1, "[]")
    facts = {"trace": change.trace_id, "through": change.through, "number": number, "agents": agents}
    if held := holding(connection, change.trace_id, agents):
        return HeldError(
            f"trace {change.trace_id} is held by {', '.join(held)}",
            hint="'aisecops log hold list' says why; nothing of it is erased before that is released",
            hold=held[0],
        )
    approvals: list[Row] = connection.execute(_APPROVALS, facts).fetchall()
    if waiting := [approval_id for approval_id, is_open, _ in approvals if is_open]:
        return _busy(change, f"request {waiting[0]} is open")
    if grant := connection.execute(_OPEN_GRANT, facts).get:
        return _busy(change, f"grant {grant} is open")
    for statement in _ERASING:
        connection.execute(statement, facts)
    for approval_id, _, request in approvals:
        _blank_approval(connection, approval_id, orjson.loads(request))
    _blank_grants(connection, change.trace_id)
    connection.execute(
        "INSERT INTO erasure VALUES (:trace, :through)"
        " ON CONFLICT (trace_id) DO UPDATE SET through = max(erasure.through, excluded.through)",
        facts,
    )
    return _blank_intent(connection, number) if number >= 0 else None


def _blank_intent(connection: apsw.Connection, number: int) -> AisecopsError | None:
    """List the trace with what its events still say."""
    try:
        intent = proven_traces(connection, number, number + 1)[number].summary.intent
    except Fault as fault:
        return IntegrityError(fault.problem, hint="Keep the database as evidence and run 'aisecops log verify'")
    connection.execute("UPDATE trace SET intent = ? WHERE number = ?", (intent, number))
    return None


def _blank_approval(connection: apsw.Connection, approval_id: str, request: Mapping[str, Any]) -> None:
    left = blanked("approval.requested", request)
    connection.execute(
        "UPDATE approval SET statement = x'', plan_hash = '', request = ? WHERE approval_id = ?",
        (canonical_bytes(left), approval_id),
    )


def _blank_grants(connection: apsw.Connection, trace_id: str) -> None:
    query = "SELECT grant_id, claims FROM execution_grant WHERE trace_id = ?"
    rows: list[Row] = connection.execute(query, (trace_id,)).fetchall()
    for grant_id, claims in rows:
        left = {**orjson.loads(claims), "plan_hash": "", "arguments_sha256": ""}
        connection.execute(
            "UPDATE execution_grant SET claims = ?, report = '' WHERE grant_id = ?", (canonical_bytes(left), grant_id)
        )


def _change_hold(connection: apsw.Connection, change: ChangeHold) -> AisecopsError | None:
    hold = change.hold
    body = connection.execute("SELECT body FROM hold WHERE hold_id = ?", (hold.id,)).get
    seen = canonical_bytes(change.seen.json()) if change.seen else None
    if body != seen:
        return ContendedError("the hold was changed meanwhile", hint="Look at it again", hold=hold.id)
    connection.execute(
        "INSERT OR REPLACE INTO hold VALUES (?, ?, ?)", (hold.id, canonical_bytes(hold.json()), int(not hold.is_held))
    )
    if seen is None:
        subjects = [(hold.by.value, subject, hold.id) for subject in hold.subjects]
        connection.executemany("INSERT INTO hold_subject VALUES (?, ?, ?)", subjects)
    return None


def _busy(change: ErasePayloads, why: str) -> ContendedError:
    return ContendedError(
        f"trace {change.trace_id} is not finished: {why}", hint="Erase it when nothing waits in it any more"
    )
