"""Delivers the messages of the outbox: at least once each, or given up with the reason on record.

Each endpoint has a lane of its own, so one that hangs holds up nobody else. A message that was taken is settled in the
log; until that is durable it may be sent again, under the same id. Pauses between attempts grow, and chance keeps them
from falling together. How often a message was tried is forgotten in a restart, its age is not, so every message ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from aisecops_server.domain.approvals.approval_events import notice_event
from aisecops_server.domain.approvals.notice import Attempt, NoticeState, SettleNotice, StoredNotice
from aisecops_server.domain.errors import AisecopsError, ContendedError
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.notices import Chance, Courier, NoticeStore

MOST_ATTEMPTS = 12
# An approval lasts for minutes; telling of it an hour later helps nobody.
MOST_AGE_SECONDS = 3600
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 120.0
# Where something else than the endpoint went wrong, or a clock jumped.
_OTHERWISE_SECONDS = 5.0
_AT_ONCE = 4
_PER_ROUND = 64
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Progress:
    """How it went with one message in this process."""

    attempts: int = 0
    due_ns: int = 0
    problem: str = ""
    taken: bool = False


@dataclass(slots=True)
class SendNotices:
    """Delivers messages; ``couriers`` by the names of their endpoints."""

    log: EventLog
    store: NoticeStore
    couriers: Mapping[str, Courier]
    clock: Clock
    ids: Ids
    chance: Chance
    _progress: dict[str, _Progress] = field(default_factory=dict)

    async def run(self) -> None:
        """Go on until cancelled."""
        with contextlib.suppress(AisecopsError):
            await self.give_up_strangers()
        await asyncio.gather(*(self._lane(endpoint) for endpoint in self.couriers))

    async def give_up_strangers(self) -> None:
        """Settle messages for endpoints that are not in the settings any more.

        Raises:
            LogUnavailableError: it cannot be recorded; they wait on.
        """
        for endpoint in await self.store.endpoints():
            while endpoint not in self.couriers and (waiting := await self.store.pending(endpoint, limit=_PER_ROUND)):
                for stored in waiting:
                    await self._record(stored, NoticeState.DEAD, _Progress(problem="no endpoint of that name is set"))

    async def round(self, endpoint: str) -> float:
        """Try what is due for one endpoint, and return for how many seconds nothing will be.

        Raises:
            LogUnavailableError: the outbox cannot be read.
        """
        waiting = await self.store.pending(endpoint, limit=_PER_ROUND)
        now = self.clock.monotonic_ns()
        due = [stored for stored in waiting if self._of(stored).due_ns <= now]
        for at in range(0, len(due), _AT_ONCE):
            await asyncio.gather(*(self._try(stored) for stored in due[at : at + _AT_ONCE]))
        pauses = [self._of(stored).due_ns for stored in waiting if stored.notice.id in self._progress]
        left = (min(pauses) - self.clock.monotonic_ns()) / 1e9 if pauses else LONGEST_PAUSE_SECONDS
        return min(LONGEST_PAUSE_SECONDS, max(0.0, left))

    async def _lane(self, endpoint: str) -> None:
        with self.store.watching("") as changed:
            while True:
                changed.clear()
                try:
                    pause = await self.round(endpoint)
                except AisecopsError as error:
                    _logger.warning("messages for %s wait: %s", endpoint, error.diagnostics())
                    pause = _OTHERWISE_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await changed.wait()

    async def _try(self, stored: StoredNotice) -> None:
        progress = self._of(stored)
        if not progress.taken:
            if self._is_old(stored):
                progress.problem = progress.problem or "it grew too old"
                return await self._settle(stored, NoticeState.DEAD, progress)
            attempt = await self._attempt(stored)
            progress.attempts += 1
            progress.taken, progress.problem = not attempt.problem, attempt.problem
            if attempt.is_final or (attempt.problem and progress.attempts >= MOST_ATTEMPTS):
                return await self._settle(stored, NoticeState.DEAD, progress)
        if progress.taken:
            return await self._settle(stored, NoticeState.DELIVERED, progress)
        progress.due_ns = self.clock.monotonic_ns() + int(self._pause(progress.attempts) * 1e9)
        return None

    async def _attempt(self, stored: StoredNotice) -> Attempt:
        courier = self.couriers[stored.notice.endpoint]
        return await courier.deliver(stored.notice, at_seconds=self.clock.now_ns() // 1_000_000_000)

    async def _settle(self, stored: StoredNotice, state: NoticeState, progress: _Progress) -> None:
        try:
            await self._record(stored, state, progress)
        except AisecopsError as error:
            # What was taken is not sent again for that, as long as this process remembers.
            _logger.warning("what became of a message is not on record yet: %s", error.diagnostics())
            progress.due_ns = self.clock.monotonic_ns() + int(_OTHERWISE_SECONDS * 1e9)

    async def _record(self, stored: StoredNotice, state: NoticeState, progress: _Progress) -> None:
        now_ns = self.clock.now_ns()
        change = SettleNotice(
            notice_id=stored.notice.id,
            state=state,
            attempts=progress.attempts,
            problem=progress.problem,
            at_seconds=now_ns // 1_000_000_000,
        )
        event = notice_event(stored, change, id=self.ids.event_id(), now_ns=now_ns)
        with contextlib.suppress(ContendedError):
            await self.log.append_change(ChangeRecord((event,), (change,)))
        self._progress.pop(stored.notice.id, None)
        if state is NoticeState.DEAD:
            _logger.warning("a message for %s was given up: %s", stored.notice.endpoint, progress.problem)

    def _of(self, stored: StoredNotice) -> _Progress:
        return self._progress.setdefault(stored.notice.id, _Progress())

    def _is_old(self, stored: StoredNotice) -> bool:
        return self.clock.now_ns() // 1_000_000_000 - stored.created_at_seconds > MOST_AGE_SECONDS

    def _pause(self, attempts: int) -> float:
        longest: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempts - 1))
        return longest * (1 + self.chance.fraction()) / 2
