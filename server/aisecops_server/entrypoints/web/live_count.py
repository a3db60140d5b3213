"""How many requests wait for people, as it changes, for the title of a page: server-sent events for a session.

A browser listens with one connection for all of its tabs. A session has a few at most and all sessions together some
more, so that nobody takes the place of those who read pages. Each ends with its session and with its credential.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any

from aisecops.v1 import approval_service_pb2 as api
from google.protobuf.message import Message
from starlette.responses import StreamingResponse

from aisecops_server.domain.errors import OverloadedError
from aisecops_server.domain.identity import Presented
from aisecops_server.entrypoints.grpc.local_calls import LocalCalls
from aisecops_server.entrypoints.web.event_stream import PACE, Pace, beginning
from aisecops_server.entrypoints.web.sessions import Sessions

CALL = "ApprovalService/WatchWaiting"
# A browser needs one; another is for one that comes back before the first is known to be gone.
MOST_OF_SESSION = 4
MOST = 256


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """Opens such streams, so many of one session and in all."""

    calls: LocalCalls
    sessions: Sessions
    pace: Pace = PACE
    of_session: int = MOST_OF_SESSION
    in_all: int = MOST
    _open: Counter[str] = field(default_factory=Counter)

    async def stream(self, session_id: str, presented: Presented, *, peer: str) -> StreamingResponse:
        """Return the stream of a session.

        Raises:
            UnauthenticatedError, NotPermittedError: the caller is turned away.
            NotFoundError: nothing waits for people here.
            OverloadedError: there are too many already.
        """
        caller = self.calls.begin(CALL, lambda: presented, peer=peer)
        counts = self.calls.answers(caller, api.WatchWaitingRequest().SerializeToString())
        return await beginning(self._held(session_id, counts), pace=self.pace, places=False)

    async def _held(self, session_id: str, counts: AsyncGenerator[Message]) -> AsyncGenerator[Message]:
        with self._place(session_id), self.sessions.ending(session_id) as over:
            async with contextlib.aclosing(until(over, counts)) as told:
                async for count in told:
                    yield count

    @contextlib.contextmanager
    def _place(self, session_id: str) -> Iterator[None]:
        if self._open[session_id] >= self.of_session or self._open.total() >= self.in_all:
            raise OverloadedError("too many pages listen already", hint="Load the page again for what is new")
        self._open[session_id] += 1
        try:
            yield
        finally:
            self._open[session_id] -= 1
            if not self._open[session_id]:
                del self._open[session_id]


async def until(over: asyncio.Event, answers: AsyncGenerator[Message]) -> AsyncGenerator[Message]:
    """Yield ``answers`` until ``over`` is set; what makes them is closed with them."""
    async with contextlib.aclosing(answers):
        tasks: list[asyncio.Task[Any]] = [
            ends := asyncio.create_task(over.wait(), name="wait for the end of a session")
        ]
        try:
            while not over.is_set():
                tasks[1:] = [coming := asyncio.create_task(_next(answers), name="wait for an answer")]
                await asyncio.wait({coming, ends}, return_when=asyncio.FIRST_COMPLETED)
                found = coming.result() if coming.done() else None
                if found is None:
                    return
                yield found
        finally:
            # What makes an answer cannot be closed while it does.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _next(answers: AsyncGenerator[Message]) -> Message | None:
    return await anext(answers, None)
