"""The proxy over its own standard input and output: what a client starts instead of a server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from aisecops_mcp.consent import Asking
from aisecops_mcp.governor import Governor
from aisecops_mcp.jsonrpc import Message, MessageId
from aisecops_mcp.lines import TooLong, lines
from aisecops_mcp.opening import Reached, servers_at, start
from aisecops_mcp.proxy import Proxy
from aisecops_mcp.talk import Say
from aisecops_mcp.upstream import Upstream

MESSAGE_BYTES = 16 * 1024 * 1024
# What may wait for a client that does not read: some of the longest messages.
WAITING_BYTES = 4 * MESSAGE_BYTES
LAST_SECONDS = 10.0
CALL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """``message_bytes`` is the longest message that is taken; ``pins`` are digests by server and tool."""

    message_bytes: int = MESSAGE_BYTES
    call_seconds: float = CALL_SECONDS
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    asking: Asking = field(default_factory=Asking)


@dataclass(slots=True)
class Output:
    """Writes to the client in order, and no faster than it reads.

    When more than ``most_bytes`` wait, the client is taken for one that never reads again: ``given_up`` is set, and
    nothing more is kept for it.
    """

    writer: asyncio.StreamWriter
    most_bytes: int = WAITING_BYTES
    given_up: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _queue: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue, init=False)
    _waiting: int = field(default=0, init=False)

    def send(self, raw: bytes, _about: MessageId | None = None) -> None:
        """Have a message written, after all that was sent before it."""
        if self._waiting + len(raw) > self.most_bytes:
            self.given_up.set()
        if not self.given_up.is_set():
            self._waiting += len(raw)
            self._queue.put_nowait(raw)

    async def run(self) -> None:
        """Write what is sent, until the end."""
        with contextlib.suppress(ConnectionError):
            while (raw := await self._queue.get()) is not None:
                self.writer.write(raw + b"\n")
                await self.writer.drain()
                self._waiting -= len(raw)

    async def end(self, writing: asyncio.Task[None]) -> None:
        """Return when all is written by ``writing``, or the client has had its time to read it."""
        self._queue.put_nowait(None)
        if self.given_up.is_set():
            writing.cancel()
        await asyncio.wait([writing], timeout=LAST_SECONDS)
        writing.cancel()


async def serve(commands: Mapping[str, Reached], governor: Governor, say: Say, bounds: Bounds = Bounds()) -> None:
    """Serve the client on standard input and output until it hangs up, or the process is asked to end.

    Raises:
        ValueError: a server cannot be called so.
    """
    reader, output = await _client_streams(bounds.message_bytes)
    proxy: Proxy

    def heard(server: Upstream, message: Message) -> None:
        proxy.from_server(server, message)

    servers = servers_at(commands, heard, say, limit=bounds.message_bytes)
    proxy = Proxy(servers, governor, output.send, say, bounds.call_seconds, bounds.pins, asking=bounds.asking)
    await start(servers, say)
    writing = asyncio.create_task(output.run())
    try:
        await _until_hung_up(reader, proxy, bounds.message_bytes, output.given_up)
    finally:
        await proxy.close()
        await output.end(writing)


async def _until_hung_up(reader: asyncio.StreamReader, proxy: Proxy, limit: int, given_up: asyncio.Event) -> None:
    async def listen() -> None:
        async for line in lines(reader, limit=limit):
            if isinstance(line, TooLong):
                proxy.say(f"a message of the client was {line.size} bytes long, at most {limit} are taken")
            else:
                proxy.from_client(line)

    async def watch() -> None:
        await given_up.wait()
        proxy.say("the client does not read what it is answered, so this ends here")
        listening.cancel()

    listening = asyncio.create_task(listen())
    watching = asyncio.create_task(watch())
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, listening.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await listening
    finally:
        watching.cancel()


async def _client_streams(limit: int) -> tuple[asyncio.StreamReader, Output]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(sys.stdin.fileno(), "rb", 0))
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(sys.stdout.fileno(), "wb", 0)
    )
    return reader, Output(asyncio.StreamWriter(transport, protocol, reader, loop))
