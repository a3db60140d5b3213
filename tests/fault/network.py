"""A bad network between a client and a server that listens on a Unix socket: slow, breaking off, silent.

A link runs in a thread with a loop of its own, because who is connected over it may wait in the thread of the test.
What is held comes late, as where packets are lost for a while and sent again. What is swallowed is gone, also that
somebody hung up, as where something on the path forgot the connection: one that lost a byte stays silent, and both
sides have to find that out by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_CHUNK = 65_536
_LOOK_SECONDS = 0.01
# BackendKeyData: the number of a session, and what it is cancelled by.
_SESSION_NUMBER, _OTHER_NUMBER = re.compile(rb"K\0\0\0\x0c.{4}", re.DOTALL), b"K\0\0\0\x0c\0\x0f\xff\xff"
# Closed without its last bytes: the other side is told "connection reset by peer".
_RESET = struct.pack("ii", 1, 0)


class Way(Enum):
    """Whose bytes: those that ask, or those that answer."""

    ASKS = "asks"
    ANSWERS = "answers"


BOTH = frozenset(Way)


@dataclass(eq=False)
class _Connection:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    is_silent: bool = False

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self.near.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.near.transport.abort()
        self.far.transport.abort()


@dataclass
class Link:
    """One path to the server at ``target``; ``address`` is its near end.

    Every message is late by ``delay`` seconds, breaks its connection with the probability ``resets``, and is swallowed
    where its way is in ``swallowed``. While ``is_holding`` nothing passes, and while something is swallowed nobody gets
    a new connection. ``messages`` is how many passed; at ``breaks_at`` of them every connection breaks. While
    ``is_renumbering`` sessions of PostgreSQL get numbers that are not the server's, as from a pooler.
    """

    target: Path
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    delay: float = 0.0
    resets: float = 0.0
    swallowed: frozenset[Way] = frozenset()
    is_holding: bool = False
    messages: int = 0
    breaks_at: int = 0
    is_renumbering: bool = False
    port: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _open: set[_Connection] = field(default_factory=set)

    @property
    def is_silent(self) -> bool:
        """Return whether a connection lost a byte and is open."""
        return any(connection.is_silent for connection in list(self._open))

    def cut(self) -> None:
        """Reset every connection that is open."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(60)

    def heal(self) -> None:
        """Pass everything on again; what was swallowed stays so, and connections that lost a byte stay silent."""
        self.delay, self.resets, self.swallowed, self.is_holding, self.breaks_at = 0.0, 0.0, frozenset(), False, 0

    def break_after(self, messages: int) -> None:
        """Reset the connections when so many more messages have passed."""
        self.breaks_at = self.messages + messages

    async def _passing(self, is_so: Callable[[], bool]) -> None:
        while not is_so():  # noqa: ASYNC110 -- another thread changes it
            await asyncio.sleep(_LOOK_SECONDS)

    async def _cut(self) -> None:
        for connection in list(self._open):
            connection.reset()

    def run(self, ended: asyncio.Event, ready: Callable[[], None]) -> None:
        """Pass connections on, in the thread that calls, until ``ended``."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ended, ready))

    async def _serve(self, ended: asyncio.Event, ready: Callable[[], None]) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await ended.wait()
        server.close()
        while self._open:
            self.heal()
            await self._cut()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _connected(self, near: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        await self._passing(lambda: not (self.swallowed or self.is_holding))
        far, asking = await asyncio.open_unix_connection(str(self.target))
        connection = _Connection(answering, asking)
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._passed(near, asking, Way.ASKS, connection), self._passed(far, answering, Way.ANSWERS, connection)
            )
        finally:
            self._open.discard(connection)

    async def _passed(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way, connection: _Connection
    ) -> None:
        with contextlib.suppress(OSError):
            while message := await source.read(_CHUNK):
                await self._carried(message, sink, way, connection)
            if way in self.swallowed or connection.is_silent:
                connection.is_silent = True
                return
        sink.close()

    async def _carried(self, message: bytes, sink: asyncio.StreamWriter, way: Way, connection: _Connection) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._passing(lambda: not self.is_holding)
        self.messages += 1
        if self.messages == self.breaks_at:
            await self._cut()
        if self.resets and self.chance.random() < self.resets:
            connection.reset()
        connection.is_silent = connection.is_silent or way in self.swallowed
        if not connection.is_silent:
            sink.write(_SESSION_NUMBER.sub(_OTHER_NUMBER, message) if self.is_renumbering else message)
            await sink.drain()


@contextlib.contextmanager
def link_to(target: Path, *, seed: int = 1) -> Iterator[Link]:
    """Have a link that passes everything on, until told otherwise."""
    link = Link(target, random.Random(seed))
    ready, ended = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=link.run, args=(ended, ready.set), daemon=True)
    thread.start()
    try:
        assert ready.wait(60)
        yield link
    finally:
        link._loop.call_soon_threadsafe(ended.set)
        thread.join(60)
        assert not thread.is_alive()
