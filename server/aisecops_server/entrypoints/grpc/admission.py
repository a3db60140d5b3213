"""How much may be held at once, over all and for one caller. What does not fit is told so at once.

``Admission`` counts what is held for long: streams, waits, memory. ``WorkQueue`` is for work: a little runs at once, a
bounded number waits, in turns among tenants and their agents, and what would wait in vain is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from aisecops_server.domain.callers.identity import Principal, PrincipalId
from aisecops_server.domain.errors import OverloadedError
from aisecops_server.domain.tenants.fair_queue import FairQueue, Place, Refused, Ticket


@dataclass(slots=True)
class Admission:
    """Counts what is held. One caller gets at most half, so that a flood of one leaves room for the others.

    ``full`` and ``hint`` are what a caller is told for whom there is no room.
    """

    limit: int
    full: str = "too many decisions are in flight"
    hint: str = "Retry after a moment"
    _total: int = 0
    _of_principal: dict[PrincipalId, int] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        """Return the weight of what is held."""
        return self._total

    @contextmanager
    def admit(self, principal: Principal, *, weight: int = 1) -> Iterator[None]:
        """Hold a place of ``weight`` while the block runs.

        Raises:
            OverloadedError: there is no room.
        """
        own = self._of_principal.get(principal.id, 0)
        share = max(1, self.limit // 2)
        weight = min(weight, share)
        if own + weight > share or self._total + weight > self.limit:
            raise OverloadedError(self.full, hint=self.hint, limit=str(self.limit))
        self._total += weight
        self._of_principal[principal.id] = own + weight
        try:
            yield
        finally:
            self._release(principal.id, weight)

    def _release(self, principal_id: PrincipalId, weight: int) -> None:
        self._total -= weight
        left = self._of_principal[principal_id] - weight
        if left:
            self._of_principal[principal_id] = left
        else:
            del self._of_principal[principal_id]


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """Lets work begin in turns, by a queue that is fair among tenants and their agents. For one event loop.

    ``tenant_of`` tells the tenant of a caller.
    """

    queue: FairQueue
    tenant_of: Callable[[PrincipalId], str]
    _wakes: dict[Ticket, asyncio.Future[None]] = field(default_factory=dict, repr=False)

    def check(self, caller: PrincipalId, *, seconds: float) -> None:
        """Do nothing where a call could get a turn: what is refused here was not even read.

        Raises:
            OverloadedError: as ``turn`` would for the lightest work.
        """
        now = time.monotonic()
        self.queue.check(self.tenant_of(caller), caller, now=now, ends_at=now + seconds)

    @asynccontextmanager
    async def turn(self, principal: Principal, *, weight: int = 1, seconds: float) -> AsyncIterator[None]:
        """Wait for a turn and hold it while the block runs; ``seconds`` are left for all of it.

        Raises:
            OverloadedError: there is no room, no hope to end in time, it waited in vain, or somebody with less had to
                have the place.
        """
        now = time.monotonic()
        tenant = self.tenant_of(principal.id)
        ticket, left = self.queue.offer(tenant, principal.id, weight, now=now, ends_at=now + seconds)
        self._turn_away(left, Refused.GAVE_WAY)
        try:
            if ticket.place is Place.WAITING:
                await self._woken(ticket, ticket.starts_by - now)
            yield
        finally:
            self.queue.leave(ticket, now=time.monotonic())
            self._start()

    async def _woken(self, ticket: Ticket, seconds: float) -> None:
        wake = self._wakes[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._start()
            async with asyncio.timeout(seconds):
                await wake
        except TimeoutError:
            # Told in the very moment in which its turn came, it has its turn.
            if ticket.place is not Place.RUNNING:
                raise self.queue.refuse(ticket, Refused.WAITED, time.monotonic()) from None
        finally:
            self._wakes.pop(ticket, None)

    def _start(self) -> None:
        started, late = self.queue.next(now=time.monotonic())
        for ticket in started:
            wake = self._wakes.pop(ticket)
            # Whoever gave up in this very moment leaves by itself.
            if not wake.done():
                wake.set_result(None)
        self._turn_away(late, Refused.WAITED)

    def _turn_away(self, tickets: Iterable[Ticket], why: Refused) -> None:
        for ticket in tickets:
            wake = self._wakes.pop(ticket)
            if not wake.done():
                wake.set_exception(self.queue.refuse(ticket, why, time.monotonic()))
