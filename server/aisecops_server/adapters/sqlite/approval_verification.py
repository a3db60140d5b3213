"""Are approvals what the log says? Every request, vote and message from the events that tell of them, and none besides.

Relies on events that were verified before. A request of which nothing can come any more is compared at once, so memory
holds what is open, and the messages that wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import apsw
import orjson

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.told import Told, told
from aisecops_server.domain.approvals.approval import ApprovalState
from aisecops_server.domain.approvals.approval_notice import notice_body
from aisecops_server.domain.approvals.approval_record import request_of, vote_details, vote_of
from aisecops_server.domain.approvals.notice import NoticeState
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.payload import blanked
from aisecops_server.domain.formats.canonical import canonical_bytes, digest

_REQUESTED, _VOTED, _CONSUMED = "approval.requested", "approval.voted", "approval.consumed"
_CLOSED = ("approval.withdrawn", "approval.expired")
_NOTICES = {
    "notice.delivered": NoticeState.DELIVERED,
    "notice.dead": NoticeState.DEAD,
    "notice.resent": NoticeState.PENDING,
}
APPROVAL_EVENTS = (_REQUESTED, _VOTED, _CONSUMED, *_CLOSED, *_NOTICES)
_TYPES = f"e.type IN ({', '.join(map(repr, APPROVAL_EVENTS))})"
_ROW = """
    SELECT agent_id, plan_hash, statement_digest, statement, request, state, version, requested_at, expires_at,
        changed_at, closed_by, closed_note, consumed_by
    FROM approval WHERE approval_id = ?"""
_VOTES = "SELECT approver, number, token_id, details FROM vote WHERE approval_id = ? ORDER BY number"
_ANSWER = """
    SELECT count(*) FROM past_answer WHERE agent_id = ? AND tool = ? AND at = ? AND approval_id = ? AND approver = ?"""
_NOTICE = """
    SELECT approval_id, trace_id, plan_id, decision_id, endpoint, body, state, created_at, attempts, problem
    FROM notice WHERE notice_id = ?"""


@dataclass(slots=True)
class _Expected:
    """What the rows of one request must be."""

    request: Mapping[str, Any]
    is_erased: bool
    statement_digest: str
    changed_at: int
    state: str = ApprovalState.REQUESTED.value
    version: int = 0
    closed_by: str = ""
    closed_note: str = ""
    consumed_by: str = ""
    votes: list[tuple[str, int, str, bytes]] = field(default_factory=list)
    answers: list[tuple[str, str, int, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Notice:
    """What the row of one message must be."""

    about: tuple[Any, ...]
    created_at: int
    state: NoticeState = NoticeState.PENDING
    attempts: int = 0
    problem: str = ""


@dataclass(slots=True)
class _Recounted:
    """Requests as the log says they must be, those that are final set apart by their number."""

    open: dict[str, _Expected] = field(default_factory=dict)
    notices: dict[str, _Notice] = field(default_factory=dict)
    requests: int = 0
    votes: int = 0
    answers: int = 0
    used: str = ""


def check_approvals(connection: apsw.Connection, index: int = 0) -> None:
    """Compare approvals with the events in the log, beside a running writer; none before ``index`` tells of them.

    Raises:
        Fault: the first thing that does not agree.
    """
    found = _Recounted()
    following = _recount(connection, found, index)
    with connection:
        # Only the last part and what is open have to be of one moment.
        _recount(connection, found, following)
        for name, expected in found.open.items():
            _compare(connection, name, expected)
        for name, notice in found.notices.items():
            _compare_notice(connection, name, notice)
        told_of = {
            "approval": found.requests,
            "vote": found.votes,
            "past_answer": found.answers,
            "notice": len(found.notices),
        }
        for table, count in told_of.items():
            if (held := connection.execute(f"SELECT count(*) FROM {table}").get) != count:  # noqa: S608 - a constant name
                raise Fault(None, f"{held} rows are kept as {table}, the log tells of {count}")


def _recount(connection: apsw.Connection, found: _Recounted, index: int) -> int:
    for event in told(connection, index, types=_TYPES):
        try:
            _apply(connection, found, event)
        except (KeyError, TypeError, ValueError, AisecopsError) as error:
            raise Fault(event.index, f"event {event.index} does not tell what became of an approval") from error
        index = event.index + 1
    return index


def _apply(connection: apsw.Connection, found: _Recounted, event: Told) -> None:
    name = str(event.details["approval_id"])
    if event.type == _REQUESTED:
        _request(found, name, event)
    elif event.type in _NOTICES:
        _settle(found.notices[str(event.details["notice_id"])], event)
    elif event.type == _CONSUMED and name == found.used:
        # The use of an approval is told in the trace that asked and in the one that used it.
        return
    else:
        _change(found, name, event)
        if not ApprovalState(found.open[name].state).is_open:
            _compare(connection, name, found.open.pop(name))


def _request(found: _Recounted, name: str, event: Told) -> None:
    details = event.details
    outside = ("statement_sha256", "notices")
    request = {key: value for key, value in details.items() if key not in outside}
    found.open[name] = _Expected(request, event.is_erased, details["statement_sha256"], details["requested_at_seconds"])
    found.requests += 1
    about = (name, details["trace_id"], details["plan_id"], details["decision_id"])
    for notice in details["notices"]:
        body = notice_body(notice["id"], request_of(request))
        found.notices[notice["id"]] = _Notice((*about, notice["endpoint"], body), details["requested_at_seconds"])


def _settle(notice: _Notice, event: Told) -> None:
    notice.state = _NOTICES[event.type]
    if notice.state is NoticeState.PENDING:
        notice.created_at = event.details["at_seconds"]
    notice.attempts, notice.problem = event.details["attempts"], event.details["problem"]


def _change(found: _Recounted, name: str, event: Told) -> None:
    expected, details = found.open.get(name), event.details
    if expected is None or details["version"] != expected.version + 1:
        raise Fault(event.index, f"event {event.index} tells of a request for approval that could not take it")
    expected.version, expected.state = details["version"], details["state"]
    if event.type == _VOTED:
        expected.changed_at = max(expected.changed_at, details["at_seconds"])
        vote = vote_of(details)
        expected.answers += [
            (expected.request["agent_id"], tool, vote.at_seconds, name, vote.approver)
            for tool in expected.request["tool_digests"]
        ]
        found.answers += len(expected.request["tool_digests"])
        expected.votes.append((vote.approver, expected.version, vote.token_id, canonical_bytes(vote_details(vote))))
        found.votes += 1
        return
    expected.changed_at = details["at_seconds"]
    if event.type == _CONSUMED:
        expected.consumed_by, found.used = details["consumed_by"], name
    else:
        expected.closed_by, expected.closed_note = details["principal"], details["note"]


def _compare(connection: apsw.Connection, name: str, expected: _Expected) -> None:
    row = connection.execute(_ROW, (name,)).fetchone()
    if row is None:
        raise Fault(None, f"approval {name} is missing")
    agent, plan, shown, statement, request, state, version, requested_at, expires_at, changed_at, *ends = row
    said = expected.request
    differing = {
        "agent": agent != said["agent_id"],
        "plan": not expected.is_erased and plan != said["plan_hash"],
        "statement": shown != expected.statement_digest
        or (digest(statement) != shown and not (expected.is_erased and statement == b"")),
        "request": not _same_request(request, expected),
        "state": state != expected.state,
        "version": version != expected.version,
        "time": (requested_at, expires_at, changed_at)
        != (said["requested_at_seconds"], said["expires_at_seconds"], expected.changed_at),
        "end": ends != [expected.closed_by, expected.closed_note, expected.consumed_by],
        "votes": connection.execute(_VOTES, (name,)).fetchall() != expected.votes,
        "past answers": not all(connection.execute(_ANSWER, answer).get for answer in expected.answers),
    }
    if any(differing.values()):
        named = ", ".join(part for part, differs in differing.items() if differs)
        raise Fault(None, f"approval {name}: its {named} is not what the log says")


def _same_request(held: bytes, expected: _Expected) -> bool:
    if not expected.is_erased:
        return held == canonical_bytes(expected.request)
    left = blanked(_REQUESTED, orjson.loads(held))
    return canonical_bytes(left) == canonical_bytes(expected.request)


def _compare_notice(connection: apsw.Connection, name: str, expected: _Notice) -> None:
    row = connection.execute(_NOTICE, (name,)).fetchone()
    if row != (*expected.about, expected.state, expected.created_at, expected.attempts, expected.problem):
        raise Fault(None, f"the message {name} is not what the log says")
