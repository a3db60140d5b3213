"""What changes while a page is open, as server-sent events for a session: what waits for people, and a trace's events.

A browser listens for the title with one connection for all of its tabs, and for a trace while it is looked at. A
session has a few at most and all sessions together some more, so that nobody takes the place of those who read pages.
Each ends with its session and with its credential.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any

from aisecops.v1 import approval_service_pb2 as api
from aisecops.v1.audit_service_pb2 import StreamEventsRequest, StreamEventsResponse
from aisecops.v1.event_pb2 import Event
from google.protobuf.message import Message
from starlette.responses import StreamingResponse

from aisecops_server.domain.errors import OverloadedError
from aisecops_server.entrypoints.grpc.local_calls import LocalCalls
from aisecops_server.entrypoints.web.event_stream import PACE, Pace, beginning
from aisecops_server.entrypoints.web.sessions import Session, Sessions

CALL = "ApprovalService/WatchWaiting"
EVENTS = "AuditService/StreamEvents"
# A browser needs one, and one for each trace that is on a screen; others are for those that come back before the first
# is known to be gone.
MOST_OF_SESSION = 8
MOST = 256


@dataclass(frozen=True, slots=True)
class Live:
    """Opens such streams, so many of one session and in all."""

    calls: LocalCalls
    sessions: Sessions
    pace: Pace = PACE
    of_session: int = MOST_OF_SESSION
    in_all: int = MOST
    _open: Counter[str] = field(default_factory=Counter)

    async def waiting(self, session: Session, *, peer: str) -> StreamingResponse:
        """Return how many requests wait for people, as it changes.

        Raises:
            UnauthenticatedError, NotPermittedError: the caller is turned away.
            NotFoundError: nothing waits for people here.
            OverloadedError: there are too many already.
        """
        counts = self._answers(session, CALL, api.WatchWaitingRequest(), peer)
        return await beginning(self._held(session.id, counts), pace=self.pace, places=False)

    async def events(self, session: Session, request: StreamEventsRequest, *, peer: str) -> StreamingResponse:
        """Return which events come, without what they tell; the id of each is its place in the log. Errors as above."""
        events = self._answers(session, EVENTS, request, peer)
        return await beginning(_brief(self._held(session.id, events)), pace=self.pace, places=True)

    def _answers(self, session: Session, call: str, request: Message, peer: str) -> AsyncGenerator[Message]:
        caller = self.calls.begin(call, lambda: session.presented, peer=peer)
        return self.calls.answers(caller, request.SerializeToString())

    async def _held(self, session_id: str, answers: AsyncGenerator[Message]) -> AsyncGenerator[Message]:
        with self._place(session_id), self.sessions.ending(session_id) as over:
            async with contextlib.aclosing(until(over, answers)) as told:
                async for answer in told:
                    yield answer

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


async def _brief(events: AsyncGenerator[Message]) -> AsyncGenerator[Message]:
    async with contextlib.aclosing(events):
        async for told in events:
            if isinstance(told, StreamEventsResponse):
                found = told.event
                yield StreamEventsResponse(
                    event=Event(event_id=found.event_id, log_index=found.log_index, type=found.type)
                )


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
