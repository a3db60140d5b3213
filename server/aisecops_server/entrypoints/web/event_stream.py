"""Calls with many answers as server-sent events: one a message, comments while there is none, and one at the end.

The next message is asked for when the one before was taken by the connection, so a reader that is slow slows the call
and fills no memory. Where the call reads the log, an event's id is its place there, and ``Last-Event-ID`` goes on
behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message as Sent
from starlette.types import Receive, Scope, Send

from aisecops_server.domain.errors import AisecopsError, InvalidRequestError
from aisecops_server.entrypoints.grpc import status
from aisecops_server.entrypoints.grpc.json_wire import json_of

KIND = "text/event-stream"
_FROM = "from_index"
_PLACE = "log_index"
_DIGITS = 18
_ALIVE = ": nothing new\n\n"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long, in seconds, headers wait for a first message or error, and how often silence is broken.

    ``stalled`` is how long a reader may take nothing until the call ends, which holds a place that others want.
    """

    first: float = 5.0
    every: float = 15.0
    stalled: float = 60.0


PACE = Pace()


def reads_the_log(request: Message) -> bool:
    """Return whether a call goes through the log from a place that its request names."""
    return _FROM in request.DESCRIPTOR.fields_by_name


def resumed(request: Message, last_event_ids: Sequence[str]) -> None:
    """Let a request go on behind the event that its reader had last; nothing is done where it names none.

    Raises:
        InvalidRequestError: it is no place in the log, or the call does not read the log.
    """
    if not last_event_ids:
        return
    text = last_event_ids[0]
    if not reads_the_log(request):
        raise InvalidRequestError("this call cannot be resumed", hint="Leave Last-Event-ID away", field="last-event-id")
    if len(last_event_ids) > 1 or not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise InvalidRequestError(
            "last-event-id: is none of an event of this stream", hint="Send the last id, once", field="last-event-id"
        )
    setattr(request, _FROM, int(text) + 1)


async def beginning(
    answers: AsyncGenerator[Message], *, pace: Pace, places: bool, seconds: float | None = None
) -> StreamingResponse:
    """Return the stream of ``answers``, once the first is there or is not soon; ``seconds`` ends it.

    ``places`` gives each event the place in the log of what it tells as its id.

    Raises:
        AisecopsError: it failed before the first message.
    """
    feed = _Feed(answers, seconds)
    try:
        first = await feed.next(pace.first)
    except BaseException:
        await feed.close()
        raise
    if isinstance(first, AisecopsError):
        await feed.close()
        raise first
    return _Events(feed, _frames(feed, first, pace, places=places), pace)


class _End:
    """Stands behind the last message."""


@dataclass(eq=False)
class _Feed:
    """Reads messages in one task, at most one ahead of who takes them."""

    answers: AsyncGenerator[Message]
    seconds: float | None
    waiting: asyncio.Queue[Message | AisecopsError | _End] = field(default_factory=lambda: asyncio.Queue(1))

    def __post_init__(self) -> None:
        """Begin to read."""
        self.reading = asyncio.create_task(self._read(), name="read a call's answers")

    async def next(self, seconds: float) -> Message | AisecopsError | _End | None:
        """Return what comes next, or ``None`` where nothing came for ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                return await self.waiting.get()
        except TimeoutError:
            return None

    async def close(self) -> None:
        """Stop reading; the call gives back what it holds."""
        self.reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.reading

    async def _read(self) -> None:
        last: AisecopsError | _End = _End()
        try:
            async with asyncio.timeout(self.seconds), contextlib.aclosing(self.answers):
                async for answer in self.answers:
                    await self.waiting.put(answer)
        except Exception as error:  # noqa: BLE001 - the last line: every error becomes a status here
            last = status.as_known(error)
        await self.waiting.put(last)


class _Events(StreamingResponse):
    """The answer; however it ends, the call ends with it."""

    def __init__(self, feed: _Feed, frames: AsyncIterator[str], pace: Pace) -> None:
        super().__init__(frames, media_type=KIND, headers={"X-Accel-Buffering": "no"})
        self.feed = feed
        self.pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def sent(message: Sent) -> None:
            async with asyncio.timeout(self.pace.stalled):
                await send(message)

        try:
            await super().__call__(scope, receive, sent)
        except (TimeoutError, ClientDisconnect):
            _logger.info("a reader of a stream took nothing for %s s, or went", self.pace.stalled)
        finally:
            await self.feed.close()


async def _frames(
    feed: _Feed, first: Message | AisecopsError | _End | None, pace: Pace, *, places: bool
) -> AsyncIterator[str]:
    item = first
    while True:
        if item is None:
            yield _ALIVE
        elif isinstance(item, AisecopsError):
            yield f"event: error\ndata: {json_of(status.message_of(item))}\n\n"
            return
        elif isinstance(item, _End):
            yield "event: end\ndata: {}\n\n"
            return
        else:
            place = _place_of(item) if places else None
            told = "" if place is None else f"id: {place}\n"
            yield f"{told}event: message\ndata: {json_of(item)}\n\n"
        item = await feed.next(pace.every)


def _place_of(told: Message) -> int | None:
    """Return the place in the log of what is told, where it or a part of it has one."""
    if _PLACE in told.DESCRIPTOR.fields_by_name:
        return int(getattr(told, _PLACE))
    parts = (part for kind, part in told.ListFields() if kind.message_type is not None and not kind.is_repeated)
    return next((place for part in parts if (place := _place_of(part)) is not None), None)
