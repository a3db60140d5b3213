"""What the events say of traces: the summary of each, decision by decision, from what proves them."""

from __future__ import annotations

from dataclasses import dataclass

import apsw
import orjson

from aisecops_server.adapters.sqlite.agent_activity import Told
from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.domain.events.event import details_in
from aisecops_server.domain.log.record import TraceSummary
from aisecops_server.domain.traces.trace_summary import joined, proven

# What is read of a text's event is the same.
PLAN = "plan.received"

# The events of one decision stand together; the plan is found a few of them before the outcome, and 32 are more
# than a decision has.
_PROOFS = """
    SELECT d.trace, d.outcome_idx, e.trace_id, e.occurred_at, e.body, p.body, y.bytes
    FROM decision AS d CROSS JOIN event AS e ON e.idx = d.outcome_idx
    LEFT JOIN event AS p ON p.idx = (
        SELECT max(q.idx) FROM event AS q
        WHERE q.idx < d.outcome_idx AND q.idx >= d.outcome_idx - 32
        AND q.type IN ('plan.received', 'text.received') AND q.decision_id = d.decision_id
    )
    LEFT JOIN payload AS y ON y.idx = p.idx
    WHERE d.trace >= ? AND d.trace < ? ORDER BY d.trace, d.outcome_idx"""


@dataclass(slots=True)
class Proven:
    """What the log says of one trace, and the leaves of its first and its latest outcome."""

    opening: int
    latest: int
    summary: TraceSummary


def proven_traces(connection: apsw.Connection, first: int, end: int, told: Told | None = None) -> dict[int, Proven]:
    """Return what the log says of the traces from number ``first`` up to ``end``; ``told`` hears every decision.

    Raises:
        Fault: it does not say it.
    """
    traces: dict[int, Proven] = {}
    for number, index, trace_id, occurred_at, outcome, plan, payload in connection.execute(_PROOFS, (first, end)):
        try:
            details = orjson.loads(outcome)["details"]
            added = proven(details, details_in(PLAN, plan, payload), trace_id=trace_id, occurred_at_ns=occurred_at)
            if told:
                told.hear(index, occurred_at, details)
            known = traces.get(number)
            if known is None:
                traces[number] = Proven(index, index, added)
            else:
                known.latest, known.summary = index, joined(known.summary, added)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"event {index}: it and its plan do not say what trace {trace_id} is to be listed with"
            raise Fault(index, what) from error
    return traces
