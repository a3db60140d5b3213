"""What agents asked: one row for each, counted in the transaction that stores the decision, and checked against it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import apsw
import orjson

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.statements import Row, insert
from aisecops_server.domain.agents.agent import Activity, activity_of, asks_as_agent
from aisecops_server.domain.log.record import DecisionRecord

_COLUMNS = "agent_id, first_at, last_at, allowed, denied, held, tried"
_JOINED = (
    "ON CONFLICT (agent_id) DO UPDATE SET first_at = min(agent_activity.first_at, excluded.first_at),"
    " last_at = max(agent_activity.last_at, excluded.last_at), allowed = agent_activity.allowed + excluded.allowed,"
    " denied = agent_activity.denied + excluded.denied, held = agent_activity.held + excluded.held,"
    " tried = agent_activity.tried + excluded.tried"
)
_SOME = f"SELECT {_COLUMNS} FROM agent_activity WHERE agent_id IN (SELECT value FROM json_each(?))"  # noqa: S608 - constant columns
_AFTER = f"SELECT {_COLUMNS} FROM agent_activity WHERE agent_id > ? ORDER BY agent_id LIMIT ?"  # noqa: S608 - constant columns
_OTHERS = "SELECT count(*) FROM agent_activity WHERE agent_id NOT IN (SELECT value FROM json_each(?))"
_OUTCOMES = """
    SELECT e.idx, e.occurred_at, e.body FROM decision AS d CROSS JOIN event AS e ON e.idx = d.outcome_idx
    WHERE d.outcome_idx >= ? ORDER BY d.outcome_idx LIMIT ?"""
_DECISIONS_PER_READ = 4096
# Beyond every index.
_NEVER = 1 << 62


class SqliteAgentActivity:
    """Implements ``AgentActivity`` on the readers' connections."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def of(self, agent_ids: Collection[str]) -> Mapping[str, Activity]:
        """Return what is known of each agent that ever asked, by its id."""
        rows = await self._readers.run(partial(_rows, query=_SOME, bindings=(_listed(agent_ids),)))
        return {row[0]: Activity(*row) for row in rows}

    async def after(self, agent_id: str, *, limit: int) -> list[Activity]:
        """Return what is known of agents in the order of their ids, starting behind ``agent_id``."""
        rows = await self._readers.run(partial(_rows, query=_AFTER, bindings=(agent_id, limit)))
        return [Activity(*row) for row in rows]

    async def count_others(self, agent_ids: Collection[str]) -> int:
        """Return how many agents ever asked that are none of these."""
        rows = await self._readers.run(partial(_rows, query=_OTHERS, bindings=(_listed(agent_ids),)))
        return int(rows[0][0])


def count(connection: apsw.Connection, records: Sequence[DecisionRecord]) -> None:
    """Count decisions that are being stored."""
    found: dict[str, Activity] = {}
    for record in records:
        decision = record.decision
        if asks_as_agent(decision.principal.roles, decision.mode.value):
            # An event proves its time to the microsecond.
            at = record.events[-1].occurred_at_ns // 1000 * 1000
            _join(
                found,
                activity_of(decision.principal.id, outcome=decision.outcome.value, mode=decision.mode.value, at_ns=at),
            )
    if found:
        insert(connection, "INSERT INTO agent_activity", list(map(_row, found.values())), _JOINED)


class Told:
    """What decisions say that agents asked, of those before event ``until``, gathered while they are read.

    A log has millions of decisions and few agents, so a decision costs as little as can be.
    """

    def __init__(self, *, until: int) -> None:
        self._until = until
        # By agent, mode and outcome: how many, and the times of the first and the last of them.
        self._found: dict[tuple[str, str, str], list[int]] = {}

    def hear(self, index: int, occurred_at: int, details: Mapping[str, Any]) -> None:
        """Count one decision, from the details of its outcome.

        Raises:
            Fault: it does not say who asked.
        """
        if index >= self._until:
            return
        try:
            principal, mode, outcome = details["principal"], details["mode"], details["outcome"]
            if asks_as_agent(principal["roles"], mode):
                count = self._found.setdefault((principal["id"], mode, outcome), [0, occurred_at, occurred_at])
                count[0] += 1
                count[1], count[2] = min(count[1], occurred_at), max(count[2], occurred_at)
        except (KeyError, TypeError, ValueError) as error:
            raise Fault(index, f"event {index} does not say who asked") from error

    def as_rows(self) -> list[list[Any]]:
        """Return it as rows."""
        return [[*key, *count] for key, count in self._found.items()]

    def join(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add what was gathered elsewhere."""
        for agent_id, mode, outcome, number, first, last in rows:
            count = self._found.setdefault((agent_id, mode, outcome), [0, first, last])
            count[0] += number
            count[1], count[2] = min(count[1], first), max(count[2], last)

    def activities(self) -> list[Activity]:
        """Return what each agent asked.

        Raises:
            Fault: somebody decided something that is no outcome.
        """
        found: dict[str, Activity] = {}
        for (agent_id, mode, outcome), (number, first, last) in self._found.items():
            try:
                one = activity_of(agent_id, outcome=outcome, mode=mode, at_ns=first // 1000 * 1000)
            except ValueError as error:
                raise Fault(
                    None, f"a decision about agent {agent_id!r} names the unknown outcome {outcome!r}"
                ) from error
            _join(found, one.repeated(number, last_seen_ns=last // 1000 * 1000))
        return list(found.values())


def check_agents(connection: apsw.Connection, told: Told, index: int) -> None:
    """Compare what was counted with what decisions before event ``index`` told, and with those from it on.

    Raises:
        Fault: the first thing that does not agree.
    """
    newer = Told(until=_NEVER)
    following = _recount(connection, newer, index)
    with connection:
        # Only the last part and the comparison have to be of one moment.
        _recount(connection, newer, following)
        told.join(newer.as_rows())
        said = {activity.agent_id: _row(activity) for activity in told.activities()}
        for row in connection.execute(f"SELECT {_COLUMNS} FROM agent_activity"):  # noqa: S608 - constant columns
            if said.pop(row[0], None) != row:
                raise Fault(None, f"what agent {row[0]!r} asked is counted otherwise than its decisions say")
        for agent_id in said:
            raise Fault(None, f"what agent {agent_id!r} asked is not counted")


def _recount(connection: apsw.Connection, told: Told, index: int) -> int:
    rows: list[Row]
    while rows := connection.execute(_OUTCOMES, (index, _DECISIONS_PER_READ)).fetchall():
        for at, occurred_at, body in rows:
            told.hear(at, occurred_at, _details(at, body))
        index = rows[-1][0] + 1
    return index


def _details(index: int, body: bytes) -> Mapping[str, Any]:
    try:
        details: Mapping[str, Any] = orjson.loads(body)["details"]
    except (KeyError, TypeError, ValueError) as error:
        raise Fault(index, f"event {index} does not say who asked") from error
    return details


def _join(found: dict[str, Activity], activity: Activity) -> None:
    known = found.get(activity.agent_id)
    found[activity.agent_id] = known.joined(activity) if known else activity


def _row(activity: Activity) -> Row:
    return (
        activity.agent_id,
        activity.first_seen_ns,
        activity.last_seen_ns,
        activity.allowed,
        activity.denied,
        activity.held,
        activity.tried,
    )


def _rows(connection: apsw.Connection, *, query: str, bindings: Row) -> list[Row]:
    return connection.execute(query, bindings).fetchall()


def _listed(agent_ids: Collection[str]) -> str:
    return orjson.dumps(list(agent_ids)).decode()
