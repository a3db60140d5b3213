"""Reading approvals and messages back, on the readers' connections."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from functools import partial

import apsw
import orjson

from aisecops_server.adapters.sqlite.approval_table import ApprovalTable
from aisecops_server.adapters.sqlite.notice_table import (
    notice_counts,
    notice_page,
    pending_endpoints,
    pending_notices,
    stored_notice,
)
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.statements import Row, Value
from aisecops_server.domain.approvals.approval import (
    LEEWAY_SECONDS,
    Approval,
    ApprovalFilter,
    ApprovalPage,
    ApprovalRequest,
    ApprovalState,
    PastAnswer,
    Vote,
)
from aisecops_server.domain.approvals.approval_record import request_of, vote_of
from aisecops_server.domain.approvals.notice import NoticeCounts, NoticePage, StoredNotice
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.canonical import digest

_COLUMNS = "approval_id, statement_digest, request, state, version, changed_at, closed_by, closed_note, consumed_by"
_SELECT = f"SELECT {_COLUMNS} FROM approval WHERE"  # noqa: S608 - constant columns
_VOTES = "SELECT details FROM vote WHERE approval_id = ? ORDER BY number"

_ANSWERS = """
    SELECT at, approval_id, approver FROM past_answer WHERE agent_id = :agent AND tool = :tool AND approval_id <> :id
    ORDER BY at DESC, approval_id DESC, approver DESC LIMIT :limit"""

_IS_OPEN = "state IN ('REQUESTED', 'GRANTED')"
_IN_TIME = f"(changed_at - {LEEWAY_SECONDS} <= :now AND :now < expires_at)"
# What is stored as open is that only in its time, whether or not somebody has noted its end.
_IS = {
    state: f"(state = '{state.value}' AND {_IN_TIME})" if state.is_open else f"state = '{state.value}'"
    for state in ApprovalState
}
_IS[ApprovalState.EXPIRED] = f"(state = 'EXPIRED' OR ({_IS_OPEN} AND NOT {_IN_TIME}))"
# Of one agent few are open at a time, and they have an index.
_IDENTICAL = f"""
    agent_id = :agent AND {_IS_OPEN} AND {_IS[ApprovalState.REQUESTED]} AND approval_id <> :id
    AND CAST(request AS TEXT) ->> '$.hash_class' = :class
    ORDER BY expires_at, approval_id LIMIT :limit"""


def state_at(parameter: str) -> str:
    """Return the SQL expression for what an approval is at the time that a parameter gives, in Unix seconds."""
    in_time = _IN_TIME.replace(":now", f":{parameter}")
    return f"CASE WHEN {_IS_OPEN} AND NOT {in_time} THEN 'EXPIRED' ELSE state END"


class SqliteApprovals:
    """Implements ``ApprovalStore`` and ``NoticeStore``. Changes go through the log; this reads what came of them."""

    def __init__(self, readers: Readers, table: ApprovalTable) -> None:
        self._readers = readers
        self._table = table

    async def approval(self, approval_id: str) -> Approval:
        """Return one approval."""
        return await self._readers.run(partial(_approval, approval_id=approval_id))

    async def statement(self, approval_id: str) -> bytes:
        """Return what people are shown, byte for byte."""
        return await self._readers.run(partial(_statement, approval_id=approval_id))

    async def open_for(self, agent_id: str, plan_hash: str) -> Approval | None:
        """Return what is stored as open for a plan of an agent, in time or not."""
        where = f"{_IS_OPEN} AND agent_id = :agent AND plan_hash = :plan"
        found = await self._readers.run(partial(_all, where=where, facts={"agent": agent_id, "plan": plan_hash}))
        return found[0] if found else None

    async def page(self, narrow: ApprovalFilter, *, now_seconds: int, page_size: int, page_token: str) -> ApprovalPage:
        """Return a page of approvals, newest first."""
        if page_token and not page_token.startswith("apr-"):
            raise InvalidRequestError("page_token: was not made by this log", field="page_token")
        conditions = [
            f"({' OR '.join(_IS[state] for state in sorted(narrow.states))})" if narrow.states else "",
            "agent_id = :agent" if narrow.agent_id else "",
            "approval_id < :token" if page_token else "",
        ]
        where = " AND ".join(filter(None, conditions)) or "TRUE"
        facts: dict[str, Value] = {"now": now_seconds, "agent": narrow.agent_id, "token": page_token}
        query = f"{where} ORDER BY approval_id DESC LIMIT :limit"
        found = await self._readers.run(partial(_all, where=query, facts={**facts, "limit": page_size + 1}))
        shown = found[:page_size]
        return ApprovalPage(tuple(shown), shown[-1].id if len(found) > page_size else "")

    async def open_count(self, agent_id: str, now_seconds: int) -> int:
        """Return how many requests of an agent are open."""
        return await self._readers.run(partial(_open_count, facts={"agent": agent_id, "now": now_seconds}))

    async def waiting_count(self, now_seconds: int) -> int:
        """Return how many requests wait for people, of all agents."""
        return await self._readers.run(partial(_waiting_count, facts={"now": now_seconds}))

    async def overdue(self, now_seconds: int, *, limit: int) -> list[Approval]:
        """Return what is stored as open and is not in time."""
        where = f"{_IS_OPEN} AND NOT {_IN_TIME} ORDER BY expires_at LIMIT :limit"
        return await self._readers.run(partial(_all, where=where, facts={"now": now_seconds, "limit": limit}))

    async def next_end(self) -> int | None:
        """Return when the first of the open ones ends, in Unix seconds."""
        return await self._readers.run(_next_end)

    async def identical(self, request: ApprovalRequest, *, now_seconds: int, limit: int) -> list[Approval]:
        """Return other requests that wait now and are identical to this one, the soonest to expire first."""
        if not request.hash_class:
            return []
        facts: dict[str, Value] = {
            "agent": request.agent_id,
            "class": request.hash_class,
            "id": request.id,
            "now": now_seconds,
            "limit": limit,
        }
        return await self._readers.run(partial(_all, where=_IDENTICAL, facts=facts))

    async def past_answers(self, request: ApprovalRequest, *, limit: int) -> list[PastAnswer]:
        """Return the last answers to other requests of its agent for one of its tools, the newest first."""
        return await self._readers.run(partial(_past_answers, request=request, limit=limit))

    def watching(self, approval_id: str) -> AbstractContextManager[asyncio.Event]:
        """Give an event that is set after every change of one approval, or, for an empty id, of any."""
        return self._table.watching(approval_id)

    async def pending(self, endpoint: str, *, limit: int) -> list[StoredNotice]:
        """Return messages that wait for one endpoint, oldest first."""
        return await self._readers.run(partial(pending_notices, endpoint=endpoint, limit=limit))

    async def endpoints(self) -> list[str]:
        """Return the endpoints that messages wait for."""
        return await self._readers.run(pending_endpoints)

    async def notices(self, state: str, *, page_size: int, page_token: str) -> NoticePage:
        """Return a page of messages, newest first; an empty state does not narrow."""
        return await self._readers.run(partial(notice_page, state=state, page_size=page_size, page_token=page_token))

    async def notice(self, notice_id: str) -> StoredNotice:
        """Return one message."""
        found = await self._readers.run(partial(stored_notice, notice_id=notice_id))
        if found is None:
            raise NotFoundError(f"there is no message {notice_id}", hint="List those that there are", id=notice_id)
        return found

    async def counts(self) -> NoticeCounts:
        """Return how many messages wait and how many were given up."""
        return await self._readers.run(notice_counts)


def _approval(connection: apsw.Connection, approval_id: str) -> Approval:
    found = _all(connection, where="approval_id = :id", facts={"id": approval_id})
    if not found:
        raise _unknown(approval_id)
    return found[0]


def _statement(connection: apsw.Connection, approval_id: str) -> bytes:
    row = connection.execute(
        "SELECT statement, statement_digest FROM approval WHERE approval_id = ?", (approval_id,)
    ).get
    if row is None:
        raise _unknown(approval_id)
    statement, statement_digest = row
    if statement == b"":
        raise NotFoundError(f"what approval {approval_id} showed was erased", hint="The trace says why", id=approval_id)
    if not isinstance(statement, bytes) or digest(statement) != statement_digest:
        raise _altered(f"what approval {approval_id} shows is not what was asked")
    return statement


def _past_answers(connection: apsw.Connection, *, request: ApprovalRequest, limit: int) -> list[PastAnswer]:
    found: dict[Row, list[str]] = {}
    for tool in sorted(request.tool_digests):
        facts = {"agent": request.agent_id, "tool": tool, "id": request.id, "limit": limit}
        for row in connection.execute(_ANSWERS, facts).fetchall():
            found.setdefault(row, []).append(tool)
    newest = sorted(found, reverse=True)[:limit]
    return [
        _answer(connection, approval_id, approver, found[at, approval_id, approver])
        for at, approval_id, approver in newest
    ]


def _answer(connection: apsw.Connection, approval_id: str, approver: str, tools: list[str]) -> PastAnswer:
    approval = _approval(connection, approval_id)
    for vote in approval.votes:
        if vote.approver == approver:
            return PastAnswer(approval, vote, tuple(tools))
    raise _altered(f"approval {approval_id} has no vote of somebody who is said to have answered it")


def _open_count(connection: apsw.Connection, facts: dict[str, Value]) -> int:
    query = f"SELECT count(*) FROM approval WHERE agent_id = :agent AND {_IS_OPEN} AND {_IN_TIME}"  # noqa: S608 - constant parts
    return int(connection.execute(query, facts).get)


def _waiting_count(connection: apsw.Connection, facts: dict[str, Value]) -> int:
    # What is open has an index by its end.
    query = f"SELECT count(*) FROM approval WHERE {_IS_OPEN} AND {_IS[ApprovalState.REQUESTED]}"  # noqa: S608 - constant parts
    return int(connection.execute(query, facts).get)


def _all(connection: apsw.Connection, *, where: str, facts: dict[str, Value]) -> list[Approval]:
    rows: list[Row] = connection.execute(f"{_SELECT} {where}", facts).fetchall()
    return [_read(row, _votes(connection, row[0])) for row in rows]


def _votes(connection: apsw.Connection, approval_id: str) -> tuple[Vote, ...]:
    rows: list[Row] = connection.execute(_VOTES, (approval_id,)).fetchall()
    return tuple(vote_of(orjson.loads(details)) for (details,) in rows)


def _read(row: Row, votes: tuple[Vote, ...]) -> Approval:
    approval_id, statement_digest, request, state, version, changed_at, closed_by, closed_note, consumed_by = row
    found = request_of(orjson.loads(request))
    if found.id != approval_id:
        raise _altered(f"approval {approval_id} is stored with another one's request")
    return Approval(
        request=found,
        statement_digest=statement_digest,
        state=ApprovalState(state),
        votes=votes,
        version=version,
        changed_at_seconds=changed_at,
        closed_by=closed_by,
        closed_note=closed_note,
        consumed_by=consumed_by,
    )


def _next_end(connection: apsw.Connection) -> int | None:
    end = connection.execute(f"SELECT min(expires_at) FROM approval WHERE {_IS_OPEN}").get  # noqa: S608 - constant parts
    return None if end is None else int(end)


def _unknown(approval_id: str) -> NotFoundError:
    return NotFoundError(f"there is no approval {approval_id}", hint="List those that there are", id=approval_id)


def _altered(why: str) -> IntegrityError:
    return IntegrityError(why, hint="Keep the database as evidence and run 'aisecops log verify'")
