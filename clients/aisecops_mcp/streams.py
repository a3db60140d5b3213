"""What a client is sent over HTTP: a stream for each of its requests and one of its own, each with numbered events.

An event that was sent is kept for a while, because who sends cannot tell whether it arrived: a client that lost its
connection names the last event that it saw and goes on behind it. Names of events mean something in their connection
only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from aisecops_mcp.jsonrpc import MessageId

# What is kept of a connection's events that were sent, and what may wait for a client that does not read.
KEPT_BYTES, WAITING_BYTES = 16 * 1024 * 1024, 64 * 1024 * 1024
ENDED_STREAMS, EVENTS = 64, 1024
_SEPARATOR = "-"


class NotKeptError(Exception):
    """A stream cannot be gone on with behind an event: it is none of this connection, or what followed is gone."""


@dataclass(slots=True)
class Event:
    """One message of a stream, by its number in it; the number 0 is the beginning, where nothing is said yet."""

    stream: Stream
    number: int
    raw: bytes = field(repr=False)
    sent: bool = False

    @property
    def name(self) -> str:
        """Return what the stream is gone on with behind."""
        return self.stream.name_at(self.number)


@dataclass(slots=True, eq=False)
class Stream:
    """What belongs to one request (``about``), or to none. Whoever reads it last is the one who reads it."""

    name: str
    about: MessageId | None
    events: deque[Event] = field(default_factory=deque)
    ended: bool = False
    written: int = 0
    dropped: int = 0
    reader: object = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_read(self) -> bool:
        """Return whether somebody reads it now."""
        return self.reader is not None

    @property
    def sent_to(self) -> int:
        """Return the number of the last event that was sent; 0 if none was."""
        return max((event.number for event in self.events if event.sent), default=self.dropped)

    def name_at(self, number: int) -> str:
        """Return what the stream is gone on with behind an event, or from its beginning."""
        return f"{self.name}{_SEPARATOR}{number}"

    def wake(self) -> None:
        """Have whoever reads it look again."""
        self._changed.set()

    async def begun(self, seconds: float) -> None:
        """Return when something was sent on it or it ended, at the latest after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended and not self.events:
                    self._changed.clear()
                    await self._changed.wait()

    async def waits(self, seconds: float) -> bool:
        """Return whether it went on within so many seconds."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def drop(self, *, unsent: bool) -> int:
        """Keep the oldest event no longer, if it was sent or need not be; return how many bytes that frees, or 0."""
        if not self.events or not (unsent or self.events[0].sent):
            return 0
        gone = self.events.popleft()
        self.dropped = gone.number
        return len(gone.raw)

    def after(self, number: int) -> list[Event]:
        """Return what is kept of it behind an event."""
        return [event for event in self.events if event.number > number]

    async def read(self, number: int, *, pause: float) -> AsyncGenerator[Event | None, None]:
        """Yield its events behind ``number`` to its end, or until another reads it; ``None`` after each quiet pause.

        An event counts as sent when the next is asked for.
        """
        mine = self.reader = object()
        self.wake()
        try:
            while self.reader is mine:
                for event in self.after(number):
                    yield event
                    event.sent, number = True, event.number
                    if self.reader is not mine:
                        return
                if self.after(number):
                    continue
                if self.ended:
                    return
                if not await self.waits(pause):
                    yield None
        finally:
            if self.reader is mine:
                self.reader = None


@dataclass(slots=True)
class Streams:
    """The streams of one connection. ``overflowed`` is set once more waits for the client than is kept for it."""

    kept_bytes: int = KEPT_BYTES
    waiting_bytes: int = WAITING_BYTES
    overflowed: bool = field(default=False, init=False)
    own: Stream = field(init=False)
    _streams: dict[str, Stream] = field(default_factory=dict, init=False)
    _open: OrderedDict[MessageId, Stream] = field(default_factory=OrderedDict, init=False)
    _ended: deque[Stream] = field(default_factory=deque, init=False)
    _bytes: int = field(default=0, init=False)
    _made: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Begin the connection's own stream."""
        self.own = self._make(None)

    @property
    def under_way(self) -> int:
        """Return how many requests are not over."""
        return len(self._open)

    def begin(self, about: MessageId) -> Stream:
        """Return the stream of a new request.

        Raises:
            ValueError: a request with this id is under way.
        """
        if about in self._open:
            raise ValueError("the id is in use; give each request its own")
        stream = self._open[about] = self._make(about)
        return stream

    def has(self, about: MessageId) -> bool:
        """Return whether a request with this id is under way."""
        return about in self._open

    def put(self, raw: bytes, about: MessageId | None) -> None:
        """Send a message in the course of a request; one of no request goes where the client surely reads."""
        stream = self._open.get(about) if about is not None else None
        if stream is None:
            stream = self._for_nobody()
        stream.written += 1
        stream.events.append(Event(stream, stream.written, raw))
        self._bytes += len(raw)
        self._make_room(stream)
        stream.wake()

    def end(self, about: MessageId) -> Stream | None:
        """End the stream of a request, and return it if there was one."""
        stream = self._open.pop(about, None)
        if stream is not None:
            stream.ended = True
            stream.wake()
            self._ended.append(stream)
            while len(self._ended) > ENDED_STREAMS:
                self._forget(self._ended.popleft())
        return stream

    def close(self) -> None:
        """End all of them."""
        for about in list(self._open):
            self.end(about)
        self.own.ended = True
        self.own.wake()

    def behind(self, name: str) -> tuple[Stream, int]:
        """Return the stream of an event, and its number in it.

        Raises:
            NotKeptError: there is none of that name, or events behind it are no longer kept.
        """
        stream_name, separator, number = name.rpartition(_SEPARATOR)
        stream = self._streams.get(stream_name)
        if not separator or stream is None or not number.isascii() or not number.isdigit() or len(number) > 18:  # noqa: PLR2004 - no number of ours
            raise NotKeptError(f"there is no event {name[:80]!r} here")
        if not stream.dropped <= int(number) <= stream.written:
            raise NotKeptError(f"what came behind the event {name[:80]!r} is no longer kept")
        return stream, int(number)

    def _for_nobody(self) -> Stream:
        """Return the stream of the only request under way, else the connection's own if it is read, else the newest."""
        if len(self._open) == 1 or (self._open and not self.own.is_read):
            return next(reversed(self._open.values()))
        return self.own

    def _make(self, about: MessageId | None) -> Stream:
        stream = Stream(f"s{self._made}", about)
        self._made += 1
        self._streams[stream.name] = stream
        return stream

    def _make_room(self, grown: Stream) -> None:
        if len(grown.events) > EVENTS:
            self._bytes -= grown.drop(unsent=grown is self.own and not grown.is_read)
        while self._bytes > self.kept_bytes and self._ended:
            self._forget(self._ended.popleft())
        for stream in (self.own, *self._open.values()):
            unsent = stream is self.own and not stream.is_read
            while self._bytes > self.kept_bytes and (freed := stream.drop(unsent=unsent)):
                self._bytes -= freed
        self.overflowed = self.overflowed or self._bytes > self.kept_bytes + self.waiting_bytes

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.name, None)
        # Whoever reads it now reads on in what it holds by itself; it is no longer ours to count.
        self._bytes -= sum(len(event.raw) for event in stream.events)
