"""What the rows of a trace say, read in one pass: all is checked as if it were read whole, and little is kept."""

from __future__ import annotations

import apsw
import orjson

from aisecops_server.adapters.sqlite.stored import (
    DECIDED,
    damaged,
    decision_of,
    require_document,
    require_leaf,
    require_payload,
    stage_of,
    trace_of,
)
from aisecops_server.adapters.sqlite.trace_index import SUMMARIES, summary_of
from aisecops_server.domain.traces.trace_outline import (
    DecisionLine,
    DecisionLook,
    EventLine,
    TraceOutline,
    deciding_id,
    decision_line,
    is_told,
    outline_of,
)

_EVENTS = """
    SELECT e.idx, event_id, decision_id, stage, type, leaf_hash, body, y.bytes
    FROM event AS e LEFT JOIN payload AS y ON y.idx = e.idx
    WHERE trace_id = ? AND trace_id <> '' ORDER BY e.idx"""


def outline_of_trace(connection: apsw.Connection, trace_id: str) -> TraceOutline:
    """Return what the rows of a trace say.

    Raises:
        NotFoundError: there is nothing.
        IntegrityError: what is stored does not verify.
    """
    row = connection.execute(f"{SUMMARIES} t.trace_id = ?", (trace_id,)).get
    if row is None:
        return outline_of(trace_of(connection, trace_id))
    summary = summary_of(row[1:])
    ends = _ends(connection, row[0])
    decisions, events = _lines(connection, trace_id, ends)
    if not events:
        return outline_of(trace_of(connection, trace_id))
    if len(decisions) != len(ends):
        index = min(ends.difference(line[0] for line in events))
        raise damaged(index, "it concludes no decision of its trace")
    deciding = deciding_id(summary, decisions)
    return TraceOutline(summary, decisions, events, decision_of(connection, deciding) if deciding else None)


def _ends(connection: apsw.Connection, number: int) -> set[int]:
    """Return which events conclude the decisions of a trace, after a look at the document of each."""
    found: set[int] = set()
    for index, _, _, digest, document in connection.execute(DECIDED, (number,)):
        require_document(connection, index, digest, document)
        found.add(index)
    return found


def _lines(connection: apsw.Connection, trace_id: str, ends: set[int]) -> tuple[list[DecisionLine], list[EventLine]]:
    decisions: list[DecisionLine] = []
    events: list[EventLine] = []
    looks: dict[DecisionLook, DecisionLook] = {}
    for index, event_id, decision_id, stage, kind, leaf, body, payload in connection.execute(_EVENTS, (trace_id,)):
        require_leaf(index, leaf, body)
        require_payload(index, body, payload)
        stage_of(stage, index)
        events.append((index, event_id, decision_id, stage, kind, body if is_told(kind) else b""))
        if index in ends:
            decisions.append(decision_line(orjson.loads(body)["details"], looks))
    return decisions, events
