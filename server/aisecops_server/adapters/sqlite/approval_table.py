"""Approvals as state beside the log: each change is one conditional statement, so of two who race one wins.

Who waits for an approval is woken when a change of it is durable, and never before.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import singledispatchmethod

import apsw
import orjson

from aisecops_server.adapters.sqlite.notice_table import insert_notices
from aisecops_server.domain.approvals.approval import LEEWAY_SECONDS, Vote, not_usable
from aisecops_server.domain.approvals.approval_changes import CastVote, CloseApproval, ConsumeApproval, OpenApproval
from aisecops_server.domain.approvals.approval_record import request_details, request_of, vote_details
from aisecops_server.domain.errors import AisecopsError, ContendedError, IntegrityError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.formats.canonical import canonical_bytes, digest

_OPEN = """
    INSERT INTO approval (approval_id, agent_id, plan_hash, statement_digest, statement, request, state, version,
        requested_at, expires_at, changed_at)
    VALUES (?, ?, ?, ?, ?, ?, 'REQUESTED', 0, ?, ?, ?)
    ON CONFLICT DO NOTHING RETURNING approval_id"""

_VOTE = """
    UPDATE approval SET state = :state, version = version + 1, changed_at = max(changed_at, :at)
    WHERE approval_id = :id AND version = :seen AND state = 'REQUESTED'
    AND changed_at - :leeway <= :at AND :at < expires_at
    RETURNING version"""

_CLOSE = """
    UPDATE approval SET state = :state, version = version + 1, changed_at = :at, closed_by = :by, closed_note = :note
    WHERE approval_id = :id AND version = :seen AND state IN ('REQUESTED', 'GRANTED')
    RETURNING version"""

_CONSUME = """
    UPDATE approval SET state = 'CONSUMED', version = version + 1, changed_at = :at, consumed_by = :decision
    WHERE approval_id = :id AND state = 'GRANTED' AND agent_id = :agent AND plan_hash = :plan
    AND changed_at - :leeway <= :at AND :at < expires_at
    RETURNING version"""

_KEEP_VOTE = """
    INSERT INTO vote (approval_id, approver, number, token_id, details) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING RETURNING number"""

_REQUEST = "SELECT request FROM approval WHERE approval_id = ?"

_KEEP_ANSWER = "INSERT INTO past_answer (agent_id, tool, at, approval_id, approver) VALUES (?, ?, ?, ?, ?)"

# Under this name everybody is woken by every change.
ANY = ""


class ApprovalTable:
    """Implements ``StateTable`` for approvals."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._watchers: dict[str, set[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change."""
        return self._apply(change, connection)

    def committed(self) -> None:
        """Wake who waits for what changed."""
        changed, self._changed = self._changed, set()
        with self._lock:
            waking = [wake for name in (*changed, *([ANY] if changed else [])) for wake in self._watchers.get(name, ())]
        for wake in waking:
            wake()

    def forget(self) -> None:
        """Wake nobody."""
        self._changed.clear()

    def wake_all(self) -> None:
        """Wake everybody who waits: another process changed something."""
        with self._lock:
            waking = [wake for watchers in self._watchers.values() for wake in watchers]
        for wake in waking:
            wake()

    @contextlib.contextmanager
    def watching(self, approval_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set after every change of one approval, or of any."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the waiter's loop is gone, and the waiter with it
                loop.call_soon_threadsafe(changed.set)

        with self._lock:
            self._watchers.setdefault(approval_id, set()).add(wake)
        try:
            yield changed
        finally:
            with self._lock:
                left = self._watchers[approval_id]
                left.discard(wake)
                if not left:
                    del self._watchers[approval_id]

    @singledispatchmethod
    def _apply(self, change: Change, connection: apsw.Connection) -> AisecopsError | None:
        del connection
        return IntegrityError(f"{type(change).__name__} is no change of an approval")

    @_apply.register
    def _open(self, change: OpenApproval, connection: apsw.Connection) -> AisecopsError | None:
        request = change.request
        row = (
            request.id,
            request.agent_id,
            request.plan_hash,
            digest(change.statement),
            change.statement,
            canonical_bytes(request_details(request)),
            request.requested_at_seconds,
            request.expires_at_seconds,
            request.requested_at_seconds,
        )
        if connection.execute(_OPEN, row).get is None:
            return _contended(request.id, "another request for this plan was opened meanwhile")
        insert_notices(connection, request, change.notices)
        self._changed.add(request.id)
        return None

    @_apply.register
    def _vote(self, change: CastVote, connection: apsw.Connection) -> AisecopsError | None:
        vote = change.vote
        facts = {
            "id": change.approval_id,
            "seen": change.seen,
            "state": change.state.value,
            "at": vote.at_seconds,
            "leeway": LEEWAY_SECONDS,
        }
        version = connection.execute(_VOTE, facts).get
        if version is None:
            return _contended(change.approval_id, "something else came of the request meanwhile")
        row = (change.approval_id, vote.approver, version, vote.token_id, canonical_bytes(vote_details(vote)))
        if connection.execute(_KEEP_VOTE, row).get is None:
            return not_usable(change.approval_id, "voted", "this very vote was cast before")
        _keep_answer(connection, change.approval_id, vote)
        self._changed.add(change.approval_id)
        return None

    @_apply.register
    def _close(self, change: CloseApproval, connection: apsw.Connection) -> AisecopsError | None:
        facts = {
            "id": change.approval_id,
            "seen": change.seen,
            "state": change.state.value,
            "at": change.at_seconds,
            "by": change.by,
            "note": change.note,
        }
        if connection.execute(_CLOSE, facts).get is None:
            return _contended(change.approval_id, "something else came of the request meanwhile")
        self._changed.add(change.approval_id)
        return None

    @_apply.register
    def _consume(self, change: ConsumeApproval, connection: apsw.Connection) -> AisecopsError | None:
        facts = {
            "id": change.approval_id,
            "agent": change.agent_id,
            "plan": change.plan_hash,
            "decision": change.decision_id,
            "at": change.at_seconds,
            "leeway": LEEWAY_SECONDS,
        }
        if connection.execute(_CONSUME, facts).get is None:
            return _contended(change.approval_id, "the approval was used or taken back meanwhile")
        self._changed.add(change.approval_id)
        return None


def _keep_answer(connection: apsw.Connection, approval_id: str, vote: Vote) -> None:
    """Keep where a vote is found by the agent that asked and each tool that it would have called."""
    asked = request_of(orjson.loads(connection.execute(_REQUEST, (approval_id,)).get))
    for tool in asked.tool_digests:
        connection.execute(_KEEP_ANSWER, (asked.agent_id, tool, vote.at_seconds, approval_id, vote.approver))


def _contended(approval_id: str, why: str) -> ContendedError:
    return ContendedError(why, hint="Ask again", approval=approval_id)
