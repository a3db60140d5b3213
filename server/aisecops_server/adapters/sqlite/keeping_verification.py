"""Compares what is missing with the events that erased it, and what is held with the events that tell of holds.

An erasure may come while the log is verified beside its writer, so what seems to be missing is looked up again before
it is called so.
"""

from __future__ import annotations

import apsw
import orjson

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.retention.keeping import ERASED, HOLD_EVENTS, Hold, hold_of

_EVENTS = """
    SELECT idx, type, trace_id, body FROM event INDEXED BY event_of_keeping
    WHERE type IN ('payload.erased', 'hold.added', 'hold.release_asked', 'hold.released', 'log.key_rotated')
    ORDER BY idx"""

_LEFT = """
    SELECT min(idx) FROM (
        SELECT y.idx AS idx FROM erasure AS x
        JOIN event AS e ON e.trace_id = x.trace_id AND e.trace_id <> '' AND e.idx <= x.through
        JOIN payload AS y ON y.idx = e.idx
        UNION ALL
        SELECT d.outcome_idx FROM erasure AS x
        JOIN trace AS t ON t.trace_id = x.trace_id
        JOIN decision AS d ON d.trace = t.number AND d.outcome_idx <= x.through
        JOIN document AS y ON y.digest = d.document_digest
    ) AS found"""


class Erasures:
    """Up to which event the payloads of each trace were erased, by the events that say so."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._through: dict[str, int] = {}

    def cover(self, trace_id: str, index: int) -> bool:
        """Return whether the payload of an event was erased."""
        if self._through.get(trace_id, -1) < index:
            self._through = told_erasures(self._connection)
        return self._through.get(trace_id, -1) >= index


def told_erasures(connection: apsw.Connection) -> dict[str, int]:
    """Return of each trace the last event that is erased, as the log tells it.

    Raises:
        Fault: an event does not tell it.
    """
    found: dict[str, int] = {}
    for index, kind, trace_id, body in connection.execute(_EVENTS):
        if kind == ERASED:
            found[trace_id] = max(found.get(trace_id, -1), _through(index, body))
    return found


def check_keeping(connection: apsw.Connection) -> None:
    """Compare what is kept as erased and as held with what the log tells, on one snapshot.

    Raises:
        Fault: the first thing that does not agree.
    """
    with connection:
        told = told_erasures(connection)
        rows: list[Row] = connection.execute("SELECT trace_id, through FROM erasure").fetchall()
        listed = {str(trace_id): int(through) for trace_id, through in rows}
        for trace_id in sorted(told.keys() | listed.keys()):
            if told.get(trace_id) != listed.get(trace_id):
                raise Fault(told.get(trace_id), f"trace {trace_id} is not listed as erased as the log tells it")
        if (left := connection.execute(_LEFT).get) is not None:
            raise Fault(left, f"event {left}: the log says that its payload was erased, and it is there")
        holds = _told_holds(connection)
        stored = {row[0]: row for row in connection.execute("SELECT hold_id, body, released FROM hold")}
        for hold_id in sorted(holds.keys() | stored.keys()):
            told_of = holds.get(hold_id)
            if told_of is None or hold_id not in stored or _row(hold_id, stored[hold_id]) != told_of[1]:
                raise Fault(told_of and told_of[0], f"hold {hold_id} is not kept as the log tells it")
        subjects = set(connection.execute("SELECT held_by, subject, hold_id FROM hold_subject"))
        if subjects != {(hold.by.value, subject, hold.id) for _, hold in holds.values() for subject in hold.subjects}:
            raise Fault(None, "what is held is not what the holds of the log name")


def _told_holds(connection: apsw.Connection) -> dict[str, tuple[int, Hold]]:
    found = {}
    for index, kind, _, body in connection.execute(_EVENTS):
        if kind not in HOLD_EVENTS:
            continue
        try:
            hold = hold_of(orjson.loads(body)["details"]["hold"])
        except (KeyError, TypeError, ValueError) as error:
            raise Fault(index, f"event {index} does not say what is held") from error
        found[hold.id] = (index, hold)
    return found


def _row(hold_id: str, row: tuple[str, bytes, int]) -> Hold | None:
    try:
        hold = hold_of(orjson.loads(row[1]))
    except (KeyError, TypeError, ValueError):
        return None
    return hold if (hold.id, int(not hold.is_held)) == (hold_id, row[2]) else None


def _through(index: int, body: bytes) -> int:
    try:
        return int(orjson.loads(body)["details"]["through"])
    except (KeyError, TypeError, ValueError) as error:
        raise Fault(index, f"event {index} does not say what was erased") from error
