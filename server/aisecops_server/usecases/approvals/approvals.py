"""Requests for approval as those see them who may: shown, listed, waited for, taken back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from aisecops_server.domain.approvals.approval import Approval, ApprovalFilter, ApprovalPage, ApprovalState, PastAnswer
from aisecops_server.domain.approvals.approval_changes import CloseApproval
from aisecops_server.domain.approvals.approval_events import closed_event
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.errors import ContendedError, NotFoundError
from aisecops_server.domain.events.event import EventId
from aisecops_server.domain.log.record import ChangeRecord, StoredDecision
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.approvals import ApprovalStore
from aisecops_server.usecases.approvals.vote_together import MOST_TOGETHER

MOST_ATTEMPTS = 16
# Who waits hears at least this often that nothing happened, so that a credential that ended ends the wait.
WAIT_SECONDS = 30.0
# So many earlier answers are read at a glance.
PAST_ANSWERS = 5


@dataclass(frozen=True, slots=True)
class ShownApproval:
    """An approval with exactly what people are asked, the decision that asked, and what is beside it.

    ``past`` was answered before; ``identical`` are other requests that wait, to which one may give the same answer.
    """

    approval: Approval
    statement: bytes
    decision: StoredDecision
    past: tuple[PastAnswer, ...]
    identical: tuple[Approval, ...]


@dataclass(frozen=True, slots=True)
class ReadApprovals:
    """Shows approvals. States are those of the moment. ``only_of`` is the agent that may see its own and no other's."""

    log: EventLog
    store: ApprovalStore
    clock: Clock

    async def show(self, approval_id: str, *, only_of: str | None) -> ShownApproval:
        """Return one approval with what it asks.

        Raises:
            NotFoundError: there is none, or it is another agent's.
        """
        approval = await self._own(approval_id, only_of)
        statement = await self.store.statement(approval_id)
        decision = await self.log.decision(approval.request.decision_id)
        past = await self.store.past_answers(approval.request, limit=PAST_ANSWERS)
        now = self._now_seconds()
        identical = await self.store.identical(approval.request, now_seconds=now, limit=MOST_TOGETHER - 1)
        return ShownApproval(
            approval, statement, decision, tuple(_past_at(answer, now) for answer in past), tuple(identical)
        )

    async def page(
        self, narrow: ApprovalFilter, *, only_of: str | None, page_size: int, page_token: str
    ) -> ApprovalPage:
        """Return a page of approvals, newest first.

        Raises:
            InvalidRequestError: the page token was not made here.
        """
        now = self._now_seconds()
        asked = narrow if only_of is None else replace(narrow, agent_id=only_of)
        found = await self.store.page(asked, now_seconds=now, page_size=page_size, page_token=page_token)
        return replace(found, approvals=tuple(_at(approval, now) for approval in found.approvals))

    async def wait(self, approval_id: str, *, only_of: str | None) -> AsyncGenerator[Approval, None]:
        """Yield the approval now, whenever it changed, and now and then although it did not, until it is decided.

        Raises:
            NotFoundError: there is none, or it is another agent's.
        """
        with self.store.watching(approval_id) as changed:
            while True:
                # Cleared before reading, so that what changes meanwhile sets it again.
                changed.clear()
                approval = await self._own(approval_id, only_of)
                yield approval
                if approval.state is not ApprovalState.REQUESTED:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._patience(approval)):
                        await changed.wait()

    async def waiting(self) -> AsyncGenerator[int, None]:
        """Yield how many requests wait now, whenever any changed, and now and then although none did."""
        with self.store.watching("") as changed:
            while True:
                changed.clear()
                yield await self.store.waiting_count(self._now_seconds())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(WAIT_SECONDS):
                        await changed.wait()

    async def _own(self, approval_id: str, only_of: str | None) -> Approval:
        approval = await self.store.approval(approval_id)
        if only_of is not None and approval.request.agent_id != only_of:
            raise NotFoundError(f"there is no approval {approval_id}", id=approval_id)
        return _at(approval, self._now_seconds())

    def _patience(self, approval: Approval) -> float:
        return min(WAIT_SECONDS, max(0.0, approval.request.expires_at_seconds - self.clock.now_ns() / 1e9))

    def _now_seconds(self) -> int:
        return self.clock.now_ns() // 1_000_000_000


@dataclass(frozen=True, slots=True)
class WithdrawApprovals:
    """Takes requests back, granted ones too, as long as they were not used."""

    log: EventLog
    store: ApprovalStore
    clock: Clock
    ids: Ids

    async def __call__(self, approval_id: str, *, by: Principal, note: str, only_of: str | None) -> Approval:
        """Take one back and return what it is then.

        Raises:
            NotFoundError: there is none, or it is another agent's.
            ApprovalNotUsableError: it is not open any more.
            LogUnavailableError: it could not be recorded, so it is still what it was.
        """
        for _ in range(MOST_ATTEMPTS):
            approval = await self.store.approval(approval_id)
            if only_of is not None and approval.request.agent_id != only_of:
                raise NotFoundError(f"there is no approval {approval_id}", id=approval_id)
            now_ns = self.clock.now_ns()
            if refused := approval.refusal_of_withdrawal(now_seconds=now_ns // 1_000_000_000):
                raise refused
            record = withdrawal(approval, by=by, note=note, now_ns=now_ns, id=self.ids.event_id())
            with contextlib.suppress(ContendedError):
                await self.log.append_change(record)
                return await self.store.approval(approval_id)
        raise ContendedError("the request changes all the time", hint="Ask again")


def withdrawal(approval: Approval, *, by: Principal, note: str, now_ns: int, id: EventId) -> ChangeRecord:
    """Return what takes an approval back, unless it changes before that is recorded."""
    change = CloseApproval(
        approval_id=approval.id,
        seen=approval.version,
        state=ApprovalState.WITHDRAWN,
        by=by.id,
        note=note,
        at_seconds=now_ns // 1_000_000_000,
    )
    return ChangeRecord((closed_event(approval, change, id=id, now_ns=now_ns),), (change,))


def _past_at(answer: PastAnswer, now_seconds: int) -> PastAnswer:
    return replace(answer, approval=_at(answer.approval, now_seconds))


def _at(approval: Approval, now_seconds: int) -> Approval:
    return replace(approval, state=approval.state_at(now_seconds))
