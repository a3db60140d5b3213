"""The seams of approvals: what the use cases need from the world. Adapters raise only ``AisecopsError``s."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from aisecops_server.domain.approvals.approval import (
    Approval,
    ApprovalFilter,
    ApprovalPage,
    ApprovalRequest,
    PastAnswer,
)
from aisecops_server.domain.callers.people import PublicKey, RetiredKey


class ApprovalStore(Protocol):
    """Reads approvals. They are changed only together with the events that tell of it, through the log."""

    async def approval(self, approval_id: str) -> Approval:
        """Return one approval.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def statement(self, approval_id: str) -> bytes:
        """Return what people are shown and vote on, byte for byte.

        Raises:
            NotFoundError: there is no such approval.
            IntegrityError: it is not what was asked.
        """
        ...

    async def open_for(self, agent_id: str, plan_hash: str) -> Approval | None:
        """Return what is stored as open for a plan of an agent, in time or not; there is at most one."""
        ...

    async def page(self, narrow: ApprovalFilter, *, now_seconds: int, page_size: int, page_token: str) -> ApprovalPage:
        """Return a page of approvals, newest first.

        Raises:
            InvalidRequestError: the page token was not made by this store.
        """
        ...

    async def open_count(self, agent_id: str, now_seconds: int) -> int:
        """Return how many requests of an agent are open."""
        ...

    async def waiting_count(self, now_seconds: int) -> int:
        """Return how many requests wait for people, of all agents."""
        ...

    async def overdue(self, now_seconds: int, *, limit: int) -> list[Approval]:
        """Return what is stored as open and is not in time."""
        ...

    async def next_end(self) -> int | None:
        """Return when the first of the open ones ends, in Unix seconds."""
        ...

    async def identical(self, request: ApprovalRequest, *, now_seconds: int, limit: int) -> list[Approval]:
        """Return other requests that wait now and are identical to this one, the soonest to expire first."""
        ...

    async def past_answers(self, request: ApprovalRequest, *, limit: int) -> list[PastAnswer]:
        """Return the last answers to other requests of its agent for one of its tools, the newest first."""
        ...

    def watching(self, approval_id: str) -> AbstractContextManager[asyncio.Event]:
        """Give an event that is set after every change of one approval, or, for an empty id, of any."""
        ...


class VoteKeys(Protocol):
    """The control plane's own key for votes, and the check of others' keys."""

    @property
    def public_key(self) -> PublicKey:
        """Return the control plane's public key (RFC 7517)."""
        ...

    @property
    def retired(self) -> Sequence[RetiredKey]:
        """Return the keys that it had before, each with when it was replaced."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the control plane's EdDSA signature of ``message``."""
        ...

    def verifies(self, key: PublicKey, message: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is that of ``message`` by ``key``, by the one algorithm of its kind."""
        ...

    def of_certificate(self, certificate: bytes) -> PublicKey | None:
        """Return the public key of a PEM certificate, if it is of a kind that signs votes."""
        ...
