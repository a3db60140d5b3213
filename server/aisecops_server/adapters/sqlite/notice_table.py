"""The outbox: messages written in the transaction of the request that they tell of, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.approvals.approval import ApprovalRequest
from aisecops_server.domain.approvals.notice import (
    Notice,
    NoticeCounts,
    NoticePage,
    NoticeState,
    ResendNotice,
    SettleNotice,
    StoredNotice,
)
from aisecops_server.domain.errors import AisecopsError, ContendedError, IntegrityError
from aisecops_server.domain.events.change import Change

_KEEP = """
    INSERT INTO notice (notice_id, approval_id, trace_id, plan_id, decision_id, endpoint, body, state, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, 'PENDING', ?)"""

_SETTLE = """
    UPDATE notice SET state = ?, attempts = ?, problem = ?, settled_at = ? WHERE notice_id = ? AND state = 'PENDING'
    RETURNING notice_id"""

_RESEND = """
    UPDATE notice SET state = 'PENDING', attempts = 0, problem = '', settled_at = 0, created_at = ?
    WHERE notice_id = ? AND state = 'DEAD' RETURNING notice_id"""

_NOTICES = """
    SELECT notice_id, endpoint, body, approval_id, trace_id, plan_id, decision_id, state, created_at, attempts, problem
    FROM notice"""

_PENDING = f"""{_NOTICES} WHERE state = 'PENDING' AND endpoint = ? ORDER BY notice_id LIMIT ?"""

_COUNTS = """
    SELECT
        (SELECT count(*) FROM notice WHERE state = 'PENDING'),
        (SELECT ifnull(min(created_at), 0) FROM notice WHERE state = 'PENDING'),
        (SELECT count(*) FROM notice WHERE state = 'DEAD'),
        ifnull((
            SELECT endpoint || ': ' || problem FROM notice WHERE state = 'DEAD' ORDER BY notice_id DESC LIMIT 1
        ), '')
"""


class NoticeTable:
    """Implements ``StateTable`` for messages."""

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change."""
        if isinstance(change, ResendNotice):
            if connection.execute(_RESEND, (change.at_seconds, change.notice_id)).get is None:
                return ContendedError("the message is not given up", hint="Look at it again", notice=change.notice_id)
            return None
        if not isinstance(change, SettleNotice):
            return IntegrityError(f"{type(change).__name__} is no change of a message")
        facts = (change.state.value, change.attempts, change.problem, change.at_seconds, change.notice_id)
        if connection.execute(_SETTLE, facts).get is None:
            return ContendedError("the message is settled already", hint="Look at it again", notice=change.notice_id)
        return None

    def committed(self) -> None:
        """Nothing is kept beside the database."""

    def forget(self) -> None:
        """Nothing is kept beside the database."""


def insert_notices(connection: apsw.Connection, request: ApprovalRequest, notices: Sequence[Notice]) -> None:
    """Keep the messages that tell of ``request``."""
    for notice in notices:
        connection.execute(
            _KEEP,
            (
                notice.id,
                request.id,
                request.trace_id,
                request.plan_id,
                request.decision_id,
                notice.endpoint,
                notice.body,
                request.requested_at_seconds,
            ),
        )


def pending_notices(connection: apsw.Connection, endpoint: str, limit: int) -> list[StoredNotice]:
    """Return messages that wait for one endpoint, oldest first."""
    return [_notice(row) for row in connection.execute(_PENDING, (endpoint, limit))]


def notice_page(connection: apsw.Connection, state: str, page_size: int, page_token: str) -> NoticePage:
    """Return a page of messages, newest first."""
    conditions = {"state = ?": state, "notice_id < ?": page_token}
    narrow = {text: value for text, value in conditions.items() if value}
    where = " AND ".join(narrow) or "TRUE"
    query = f"{_NOTICES} WHERE {where} ORDER BY notice_id DESC LIMIT ?"
    found = [_notice(row) for row in connection.execute(query, (*narrow.values(), page_size + 1))]
    page = tuple(found[:page_size])
    return NoticePage(page, page[-1].notice.id if len(found) > page_size else "")


def stored_notice(connection: apsw.Connection, notice_id: str) -> StoredNotice | None:
    """Return one message."""
    row = connection.execute(f"{_NOTICES} WHERE notice_id = ?", (notice_id,)).fetchone()
    return None if row is None else _notice(row)


def pending_endpoints(connection: apsw.Connection) -> list[str]:
    """Return the endpoints that messages wait for."""
    found = connection.execute("SELECT DISTINCT endpoint FROM notice WHERE state = 'PENDING' ORDER BY endpoint")
    return [endpoint for (endpoint,) in found]


def notice_counts(connection: apsw.Connection) -> NoticeCounts:
    """Return how many messages wait and how many were given up."""
    return NoticeCounts(*connection.execute(_COUNTS).get)


def _notice(row: Row) -> StoredNotice:
    notice_id, endpoint, body, approval_id, trace_id, plan_id, decision_id, state, created_at, attempts, problem = row
    return StoredNotice(
        notice=Notice(notice_id, endpoint, body),
        approval_id=approval_id,
        trace_id=trace_id,
        plan_id=plan_id,
        decision_id=decision_id,
        state=NoticeState(state),
        created_at_seconds=created_at,
        attempts=attempts,
        problem=problem,
    )
