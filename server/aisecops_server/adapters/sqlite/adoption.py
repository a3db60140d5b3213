"""The latest decisions, grants, requests and incidents, read for how far adoption is.

Each kind is read from its newest row backwards, so what is older costs nothing, however large the log is.
"""

from __future__ import annotations

from functools import partial

import apsw
import orjson

from aisecops_server.adapters.sqlite.approval_rows import state_at
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.agents.agent import asks_as_agent
from aisecops_server.domain.agents.maturity import AdoptionRecords, DecisionFact, GrantFact, IncidentFact, RequestFact
from aisecops_server.domain.approvals.approval import ApprovalState
from aisecops_server.domain.grants.grant import GrantState

_NS = 1_000_000_000
_DECISIONS = """
    SELECT e.idx, e.trace_id, CAST(e.body AS TEXT) ->> '$.details.principal.id',
        CAST(e.body AS TEXT) ->> '$.details.mode', CAST(e.body AS TEXT) ->> '$.details.policy_mode',
        CAST(e.body AS TEXT) -> '$.details.principal.roles'
    FROM (SELECT outcome_idx FROM decision ORDER BY outcome_idx DESC LIMIT :limit) AS d
    CROSS JOIN event AS e ON e.idx = d.outcome_idx WHERE e.occurred_at >= :since ORDER BY e.idx DESC"""
_GRANTS = """
    SELECT grant_id, trace_id, agent_id, state FROM execution_grant WHERE overdue_at >= :since_seconds
    ORDER BY grant_id DESC LIMIT :limit"""
# Of few traces only: an event has no index by its type.
_REDEEMED = """
    SELECT CAST(body AS TEXT) ->> '$.details.grant', CAST(body AS TEXT) ->> '$.details.principal'
    FROM event WHERE trace_id IN (SELECT value FROM json_each(?)) AND type = 'grant.redeemed'"""
_REQUESTS = """
    SELECT request ->> '$.trace_id', agent_id, {state} FROM (
        SELECT CAST(request AS TEXT) AS request, agent_id, state, changed_at, expires_at FROM approval
        WHERE requested_at >= :since_seconds ORDER BY approval_id DESC LIMIT :limit) AS latest"""
_INCIDENTS = """
    SELECT idx, trace_id, coalesce(CAST(body AS TEXT) ->> '$.details.agent', '') FROM event
    WHERE type >= 'incident.' AND type < 'incident/' AND occurred_at >= :since ORDER BY idx DESC LIMIT :limit"""
_TRACES_OF_REDEMPTIONS = 500


class SqliteAdoption:
    """Implements ``AdoptionReader`` on the readers' connections."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def records(self, *, since_ns: int, now_seconds: int, limit: int) -> AdoptionRecords:
        """Return the latest records."""
        facts = {"since": since_ns, "since_seconds": since_ns // _NS, "now": now_seconds, "limit": limit}
        return await self._readers.run(partial(_records, facts=facts))


def _records(connection: apsw.Connection, facts: dict[str, int]) -> AdoptionRecords:
    def rows(query: str) -> list[Row]:
        wanted = {name: value for name, value in facts.items() if f":{name}" in query}
        found: list[Row] = connection.execute(query, wanted).fetchall()
        return found

    grants = rows(_GRANTS)
    used = _redeemed(connection, grants)
    return AdoptionRecords(
        decisions=tuple(
            DecisionFact(*row) for *row, roles in rows(_DECISIONS) if asks_as_agent(orjson.loads(roles), row[3])
        ),
        grants=tuple(
            GrantFact(trace, agent, GrantState(state), used.get(name, "")) for name, trace, agent, state in grants
        ),
        requests=tuple(
            RequestFact(trace, agent, ApprovalState(state))
            for trace, agent, state in rows(_REQUESTS.format(state=state_at("now")))
        ),
        incidents=tuple(IncidentFact(*row) for row in rows(_INCIDENTS)),
    )


def _redeemed(connection: apsw.Connection, grants: list[Row]) -> dict[str, str]:
    traces = list(dict.fromkeys(trace for _, trace, _, state in grants if state != GrantState.ISSUED))
    listed = orjson.dumps(traces[:_TRACES_OF_REDEMPTIONS]).decode()
    return {str(grant): str(by) for grant, by in connection.execute(_REDEEMED, (listed,)).fetchall()}
