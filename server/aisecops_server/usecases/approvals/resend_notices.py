"""Messages that were given up, read and put back into the outbox by a person: a receiver that was down is up again."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.approvals.approval_events import resent_event
from aisecops_server.domain.approvals.notice import NoticePage, NoticeState, ResendNotice, StoredNotice
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.notices import NoticeStore


@dataclass(frozen=True, slots=True)
class ResendNotices:
    """Shows messages, and lets those that were given up wait again."""

    log: EventLog
    store: NoticeStore
    clock: Clock
    ids: Ids

    async def page(self, state: NoticeState | None, *, page_size: int, page_token: str) -> NoticePage:
        """Return a page of messages, newest first."""
        return await self.store.notices(state.value if state else "", page_size=page_size, page_token=page_token)

    async def __call__(self, notice_id: str, *, by: Principal) -> StoredNotice:
        """Put one message back and return it as it waits. The courier takes it in its next round.

        Raises:
            NotFoundError: there is none of that id.
            ContendedError: it was not given up.
            LogUnavailableError: it could not be recorded, so it stays given up.
        """
        stored = await self.store.notice(notice_id)
        now_ns = self.clock.now_ns()
        change = ResendNotice(notice_id, now_ns // 1_000_000_000)
        event = resent_event(stored, change, id=self.ids.event_id(), by=by.id, now_ns=now_ns)
        await self.log.append_change(ChangeRecord((event,), (change,)))
        return await self.store.notice(notice_id)
