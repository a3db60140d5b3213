"""A store of approvals that has none, for tests of what stands beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aisecops_server.domain.approvals.approval import (
    Approval,
    ApprovalFilter,
    ApprovalPage,
    ApprovalRequest,
    PastAnswer,
)
from aisecops_server.domain.approvals.notice import NoticePage, StoredNotice
from aisecops_server.domain.errors import NotFoundError


class NoApprovals:
    async def approval(self, approval_id: str) -> Approval:
        raise NotFoundError("there is no such approval", id=approval_id)

    async def statement(self, approval_id: str) -> bytes:
        raise NotFoundError("there is no such approval", id=approval_id)

    async def open_for(self, agent_id: str, plan_hash: str) -> Approval | None:
        return None

    async def page(self, narrow: ApprovalFilter, *, now_seconds: int, page_size: int, page_token: str) -> ApprovalPage:
        return ApprovalPage((), "")

    async def open_count(self, agent_id: str, now_seconds: int) -> int:
        return 0

    async def waiting_count(self, now_seconds: int) -> int:
        raise NotFoundError("nobody asks anything here")

    async def identical(self, request: ApprovalRequest, *, now_seconds: int, limit: int) -> list[Approval]:
        return []

    async def past_answers(self, request: ApprovalRequest, *, limit: int) -> list[PastAnswer]:
        return []

    async def overdue(self, now_seconds: int, *, limit: int) -> list[Approval]:
        return []

    async def next_end(self) -> int | None:
        return None

    async def pending(self, endpoint: str, *, limit: int) -> list[StoredNotice]:
        return []

    async def endpoints(self) -> list[str]:
        return []

    async def notices(self, state: str, *, page_size: int, page_token: str) -> NoticePage:
        return NoticePage((), "")

    async def notice(self, notice_id: str) -> StoredNotice:
        raise NotFoundError(f"there is no message {notice_id}", id=notice_id)

    @contextmanager
    def watching(self, approval_id: str) -> Iterator[asyncio.Event]:
        yield asyncio.Event()
