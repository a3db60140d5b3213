"""Messages that tell people of a request for approval: written with it, delivered at least once, or given up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from aisecops_server.domain.events.change import Change

KIND = "notice"


class NoticeState(StrEnum):
    """What became of a message."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for one endpoint of the settings, by its name. ``id`` is the same in every attempt to deliver it."""

    id: str
    endpoint: str
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredNotice:
    """A message, the request that it tells of, where that stands in the log, and what became of the message."""

    notice: Notice
    approval_id: str
    trace_id: str
    plan_id: str
    decision_id: str
    state: NoticeState
    created_at_seconds: int
    attempts: int
    problem: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt to deliver a message went. ``problem`` is empty when it was taken.

    ``is_final`` says that another attempt would go the same way.
    """

    problem: str
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class NoticeCounts:
    """How many messages wait, since when the oldest does (0 for none), how many were given up, and why the last was."""

    pending: int
    oldest_at_seconds: int
    dead: int
    problem: str


@dataclass(frozen=True, slots=True)
class SettleNotice(Change):
    """Note that a message that waited was delivered, or given up."""

    kind: ClassVar[str] = KIND
    notice_id: str
    state: NoticeState
    attempts: int
    problem: str
    at_seconds: int


@dataclass(frozen=True, slots=True)
class ResendNotice(Change):
    """Let a message that was given up wait again, as if it were made at ``at_seconds``."""

    kind: ClassVar[str] = KIND
    notice_id: str
    at_seconds: int


@dataclass(frozen=True, slots=True)
class NoticePage:
    """Messages, newest first; ``next_token`` is empty on the last page."""

    notices: tuple[StoredNotice, ...]
    next_token: str
