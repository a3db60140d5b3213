"""The events that tell what happened to an approval. Each carries all of it, so that the state can be recomputed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aisecops_server.domain.approvals.approval import Approval, ApprovalState
from aisecops_server.domain.approvals.approval_changes import CastVote, CloseApproval, OpenApproval
from aisecops_server.domain.approvals.approval_record import request_details, vote_details
from aisecops_server.domain.approvals.notice import ResendNotice, SettleNotice, StoredNotice
from aisecops_server.domain.decisions.decision import Decision
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.event import Event, EventId, Stage, make_event
from aisecops_server.domain.formats.canonical import JsonValue, digest

_CLOSED_AS = {ApprovalState.WITHDRAWN: "approval.withdrawn", ApprovalState.EXPIRED: "approval.expired"}


def requested_event(opening: OpenApproval, *, id: EventId, now_ns: int) -> Event:
    """Return the event that tells of a new request."""
    request = opening.request
    return make_event(
        id=id,
        trace_id=request.trace_id,
        plan_id=request.plan_id,
        decision_id=request.decision_id,
        stage=Stage.APPROVAL,
        type="approval.requested",
        occurred_at_ns=now_ns,
        details={
            **request_details(request),
            "statement_sha256": digest(opening.statement),
            "notices": [{"id": notice.id, "endpoint": notice.endpoint} for notice in opening.notices],
        },
    )


def voted_event(approval: Approval, cast: CastVote, *, id: EventId, now_ns: int) -> Event:
    """Return the event that tells of a vote and of what it leads to."""
    details: Mapping[str, JsonValue] = {
        **vote_details(cast.vote),
        "version": cast.seen + 1,
        "state": cast.state.value,
        "statement_sha256": approval.statement_digest,
    }
    return _event(approval, "approval.voted", id=id, now_ns=now_ns, details=details)


def vote_refused_event(
    approval: Approval, error: AisecopsError, *, id: EventId, now_ns: int, facts: Mapping[str, JsonValue]
) -> Event:
    """Return the event that tells of a vote that did not count."""
    details = {**facts, "reason": error.reason, "message": error.message, "metadata": error.metadata()}
    return _event(approval, "approval.vote_refused", id=id, now_ns=now_ns, details=details)


def closed_event(approval: Approval, change: CloseApproval, *, id: EventId, now_ns: int) -> Event:
    """Return the event that tells that nothing comes of a request any more."""
    details: Mapping[str, JsonValue] = {
        "principal": change.by,
        "note": change.note,
        "at_seconds": change.at_seconds,
        "version": change.seen + 1,
        "state": change.state.value,
    }
    return _event(approval, _CLOSED_AS[change.state], id=id, now_ns=now_ns, details=details)


def consumed_events(approval: Approval, decision: Decision, *, next_id: Callable[[], EventId]) -> tuple[Event, ...]:
    """Return the events that tell of the use of an approval: in the trace that uses it, and in that which asked."""
    details: dict[str, JsonValue] = {
        "principal": decision.principal.id,
        "approvers": approval.approvers,
        "consumed_by": decision.id,
        "consumed_in": decision.trace_id,
        "plan_hash": decision.plan_hash,
        "bundle_revision": decision.bundle_revision,
        "at_seconds": decision.decided_at_ns // 1_000_000_000,
        "version": approval.version + 1,
        "state": ApprovalState.CONSUMED.value,
    }
    own = make_event(
        id=next_id(),
        trace_id=decision.trace_id,
        plan_id=decision.plan_id,
        decision_id=decision.id,
        stage=Stage.APPROVAL,
        type="approval.consumed",
        occurred_at_ns=decision.decided_at_ns,
        details={"approval_id": approval.id, **details},
    )
    if decision.trace_id == approval.request.trace_id:
        return (own,)
    theirs = _event(approval, "approval.consumed", id=next_id(), now_ns=decision.decided_at_ns, details=details)
    return (theirs, own)


def notice_event(stored: StoredNotice, settled: SettleNotice, *, id: EventId, now_ns: int) -> Event:
    """Return the event that tells that a message was delivered, or given up."""
    return make_event(
        id=id,
        trace_id=stored.trace_id,
        plan_id=stored.plan_id,
        decision_id=stored.decision_id,
        stage=Stage.APPROVAL,
        type=f"notice.{settled.state.value.lower()}",
        occurred_at_ns=now_ns,
        details={
            "approval_id": stored.approval_id,
            "notice_id": stored.notice.id,
            "endpoint": stored.notice.endpoint,
            "body_sha256": digest(stored.notice.body),
            "attempts": settled.attempts,
            "problem": settled.problem,
        },
    )


def resent_event(stored: StoredNotice, change: ResendNotice, *, id: EventId, by: str, now_ns: int) -> Event:
    """Return the event that tells that a message which was given up waits again."""
    return make_event(
        id=id,
        trace_id=stored.trace_id,
        plan_id=stored.plan_id,
        decision_id=stored.decision_id,
        stage=Stage.APPROVAL,
        type="notice.resent",
        occurred_at_ns=now_ns,
        details={
            "approval_id": stored.approval_id,
            "notice_id": stored.notice.id,
            "endpoint": stored.notice.endpoint,
            "principal": by,
            "attempts": 0,
            "problem": "",
            "at_seconds": change.at_seconds,
        },
    )


def _event(approval: Approval, type: str, *, id: EventId, now_ns: int, details: Mapping[str, JsonValue]) -> Event:
    request = approval.request
    return make_event(
        id=id,
        trace_id=request.trace_id,
        plan_id=request.plan_id,
        decision_id=request.decision_id,
        stage=Stage.APPROVAL,
        type=type,
        occurred_at_ns=now_ns,
        details={"approval_id": approval.id, **details},
    )
