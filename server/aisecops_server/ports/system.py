"""The world that every use case needs: time and fresh names."""

from __future__ import annotations

from typing import Protocol

from aisecops_server.domain.approvals.approval import ApprovalId
from aisecops_server.domain.decisions.decision import DecisionId
from aisecops_server.domain.events.event import EventId
from aisecops_server.domain.plans.plan import PlanId, TraceId


class Clock(Protocol):
    """The only source of time."""

    def now_ns(self) -> int:
        """Return Unix time in nanoseconds."""
        ...

    def monotonic_ns(self) -> int:
        """Return a time that never goes back, for measuring durations."""
        ...


class Ids(Protocol):
    """The only source of fresh identifiers; unguessable and roughly ordered by time."""

    def trace_id(self) -> TraceId:
        """Return 32 hexadecimal digits."""
        ...

    def plan_id(self) -> PlanId:
        """Return a fresh plan id."""
        ...

    def decision_id(self) -> DecisionId:
        """Return a fresh decision id."""
        ...

    def event_id(self) -> EventId:
        """Return a fresh event id."""
        ...

    def approval_id(self) -> ApprovalId:
        """Return a fresh approval id; later ones sort behind earlier ones."""
        ...

    def notice_id(self) -> str:
        """Return a fresh id of a message; later ones sort behind earlier ones."""
        ...

    def nonce(self) -> str:
        """Return what nobody can guess and nothing else has."""
        ...
