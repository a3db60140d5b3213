"""At an edge: has the centre record the log, in order, from where the centre says that it is.

The log itself is the queue: what was decided is durable there before it is answered, and stays. The centre alone knows
how far it is, so nothing is lost or sent twice for a crash on either side. Ordering rules: before anything is sent,
what the centre has must be the beginning of this very log; one that is not that was set back or rewritten, and is
sealed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from aisecops_server.domain.errors import AisecopsError, IntegrityError, RecordsRefusedError
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.log.record import LogHead
from aisecops_server.ports import EventLog, ProvenLog
from aisecops_server.ports.edges import Batch, Centre, FeedStore
from aisecops_server.usecases.log.checkpoint import CheckpointKeys

ABOUT = "reconciliation"
MOST_EVENTS = 256
MOST_BYTES = 4 * 1024 * 1024
# What no later attempt can mend.
_FINAL = frozenset({"fork", "other_keys"})
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ForwardLog:
    """Reconciles the log to the centre. ``proven`` and ``log`` are the same log."""

    log: EventLog
    proven: ProvenLog
    centre: Centre
    store: FeedStore
    keys: CheckpointKeys
    grant_keys: Callable[[], bytes]
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self) -> LogHead:
        """Send everything that the centre has not; return what it has then.

        Raises:
            RepositoryUnavailableError: the centre cannot be reached; what is left is sent later.
            RecordsRefusedError: the centre refuses what it is sent.
            IntegrityError: the centre has another history of this log; the log is sealed.
        """
        async with self._busy:
            try:
                head = await self._forwarded()
            except AisecopsError as error:
                await self.store.tell(ABOUT, error.message)
                if isinstance(error, RecordsRefusedError) and error.metadata().get("why") in _FINAL:
                    self.log.seal(f"{IntegrityError.reason}: {error.message}")
                raise
            await self.store.tell(ABOUT, "")
            return head

    async def _forwarded(self) -> LogHead:
        known = await self._acknowledged(await self.centre.enrol(self.keys.public.text(), self.grant_keys()))
        while known.size < (await self.proven.head()).size:
            batch = await self._batch(known.size)
            known = await self._acknowledged(await self.centre.reconcile(batch))
        return known

    async def _acknowledged(self, head: LogHead) -> LogHead:
        """Return ``head`` once it was seen to be a beginning of this log, and kept."""
        own = await self.proven.head()
        if head.size > own.size:
            raise self._sealed(f"it holds {own.size} events, and the centre has {head.size} of it: it was set back")
        if await self.proven.head_at(head.size) != head:
            raise self._sealed(f"its first {head.size} events are not those that the centre has of it")
        await self.store.acknowledge(head)
        return head

    def _sealed(self, why: str) -> IntegrityError:
        self.log.seal(f"{IntegrityError.reason}: the log is not the one that was reconciled: {why}")
        return IntegrityError(
            f"the log is not the one that was reconciled: {why}",
            hint="Keep the files as evidence; give the edge a state of its own, under an id of its own",
        )

    async def _batch(self, start: int) -> Batch:
        events: list[StoredEvent] = []
        size = 0
        async with aclosing(self.log.events(from_index=start, follow=False, trace_id="")) as stored:
            async for found in stored:
                size += len(found.event.body) + len(found.event.payload)
                if events and (size > MOST_BYTES or len(events) == MOST_EVENTS):
                    break
                events.append(found)
        head = await self.proven.head_at(start + len(events))
        return Batch(
            start,
            tuple(found.event.body for found in events),
            tuple(found.event.payload for found in events),
            self.keys.signed(head).written(),
        )


class Forwarder:
    """Forwards again and again; what goes wrong is told once and tried again."""

    def __init__(
        self,
        forward: Callable[[], Awaitable[LogHead]],
        *,
        interval_seconds: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._forward = forward
        self._interval_seconds = interval_seconds
        self._pause = pause
        self._told = ""

    async def run(self) -> None:
        """Forward until cancelled."""
        while True:
            try:
                await self._forward()
            except AisecopsError as error:
                if self._told != error.diagnostics():
                    _logger.warning("the log is not reconciled: %s", error.diagnostics())
                self._told = error.diagnostics()
            except Exception:
                # A forwarder that ended would leave the centre silently without records.
                _logger.exception("the log is not reconciled")
            else:
                if self._told:
                    _logger.info("the log is reconciled again")
                self._told = ""
            await self._pause(self._interval_seconds)
