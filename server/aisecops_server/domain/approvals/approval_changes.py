"""What happens to approvals, as changes of state that are stored with the events that tell of them.

Each is conditional, and names the version of the approval that whoever made it has seen: the event beside it says what
came of it, so it must not be stored if something else came first. Times are in the changes, because a store has no
clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aisecops_server.domain.approvals.approval import ApprovalId, ApprovalRequest, ApprovalState, Vote
from aisecops_server.domain.approvals.notice import Notice
from aisecops_server.domain.events.change import Change

KIND = "approval"


@dataclass(frozen=True, slots=True)
class OpenApproval(Change):
    """Keep a request with exactly what people are shown, and the messages that tell them; one a plan may be open."""

    kind: ClassVar[str] = KIND
    request: ApprovalRequest
    statement: bytes
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class CastVote(Change):
    """Keep a vote and the state that it leads to."""

    kind: ClassVar[str] = KIND
    approval_id: ApprovalId
    seen: int
    vote: Vote
    state: ApprovalState


@dataclass(frozen=True, slots=True)
class CloseApproval(Change):
    """Withdraw an open approval, or note that its time is over."""

    kind: ClassVar[str] = KIND
    approval_id: ApprovalId
    seen: int
    state: ApprovalState
    by: str
    note: str
    at_seconds: int


@dataclass(frozen=True, slots=True)
class ConsumeApproval(Change):
    """Use a granted approval up: once, for its plan, by its agent, in time."""

    kind: ClassVar[str] = KIND
    approval_id: ApprovalId
    agent_id: str
    plan_hash: str
    decision_id: str
    at_seconds: int
