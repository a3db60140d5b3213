"""Whether an agent acted in a trace as a plan says that it did, read from the events that the log proves."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import orjson

from aisecops_server.adapters.sqlite.stored import require_leaf
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.plans.plan import Delegate

# Who hands work down does so soon after being allowed to; older decisions of a very long trace are not looked for.
MOST_DECISIONS = 1_000

_TRACE = "SELECT number, agents FROM trace WHERE trace_id = ?"
_OUTCOMES = """
    SELECT e.idx, e.leaf_hash, e.body FROM decision AS d JOIN event AS e ON e.idx = d.outcome_idx
    WHERE d.trace = ? ORDER BY d.outcome_idx DESC LIMIT ?"""


def acted(connection: apsw.Connection, *, agent_id: str, trace_id: str, below: Sequence[Delegate]) -> bool:
    """Return whether the agent was allowed a plan in the trace, with exactly ``below`` above itself.

    Raises:
        IntegrityError: a decision of the trace does not verify.
    """
    row = connection.execute(_TRACE, (trace_id,)).get
    if row is None or agent_id not in orjson.loads(row[1]):
        return False
    chain = [(link.agent_id, link.trace_id) for link in below]
    # Read one by one and newest first: who looks for what is there finds it at once.
    for index, leaf, body in connection.execute(_OUTCOMES, (row[0], MOST_DECISIONS)):
        require_leaf(index, leaf, body)
        details = orjson.loads(body)["details"]
        if (
            details["principal"]["id"] == agent_id
            and details["outcome"] == Outcome.ALLOW
            and details["mode"] == Mode.ENFORCE
            and [(link["agent_id"], link["trace_id"]) for link in details.get("delegation", [])] == chain
        ):
            return True
    return False
