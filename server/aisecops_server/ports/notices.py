"""The seams of messages: where they wait, who takes them, and the chance that keeps pauses apart."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Protocol

from aisecops_server.domain.approvals.notice import Attempt, Notice, NoticePage, StoredNotice


class NoticeStore(Protocol):
    """Reads the outbox. Messages are written with what they tell of, and settled, through the log."""

    async def pending(self, endpoint: str, *, limit: int) -> list[StoredNotice]:
        """Return messages that wait for one endpoint, oldest first."""
        ...

    async def endpoints(self) -> list[str]:
        """Return the endpoints that messages wait for."""
        ...

    async def notices(self, state: str, *, page_size: int, page_token: str) -> NoticePage:
        """Return a page of messages, newest first; an empty state does not narrow."""
        ...

    async def notice(self, notice_id: str) -> StoredNotice:
        """Return one message.

        Raises:
            NotFoundError: there is none.
        """
        ...

    def watching(self, approval_id: str) -> AbstractContextManager[asyncio.Event]:
        """Give an event that is set after every change of one approval, or, for an empty id, of any."""
        ...


class Courier(Protocol):
    """Takes messages to one endpoint."""

    async def deliver(self, notice: Notice, *, at_seconds: int) -> Attempt:
        """Try once to deliver one message, in bounded time; whatever goes wrong is in the answer."""
        ...


class Chance(Protocol):
    """The only source of chance, for pauses that must not fall together."""

    def fraction(self) -> float:
        """Return a number from 0 up to, and not including, 1."""
        ...
