"""The proxy over its own standard input and output: what a client starts instead of a server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from aisecops_mcp.governor import Governor
from aisecops_mcp.jsonrpc import Message
from aisecops_mcp.lines import TooLong, lines
from aisecops_mcp.proxy import Proxy
from aisecops_mcp.server_process import Command, ServerGoneError, ServerProcess
from aisecops_mcp.talk import Say

MESSAGE_BYTES = 16 * 1024 * 1024
CALL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """``message_bytes`` is the longest message that is taken; ``pins`` are digests by server and tool."""

    message_bytes: int = MESSAGE_BYTES
    call_seconds: float = CALL_SECONDS
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Output:
    """Writes to the client in order, and no faster than it reads."""

    writer: asyncio.StreamWriter
    _queue: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue, init=False)

    def send(self, raw: bytes) -> None:
        self._queue.put_nowait(raw)

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def run(self) -> None:
        with contextlib.suppress(ConnectionError):
            while (raw := await self._queue.get()) is not None:
                self.writer.write(raw + b"\n")
                await self.writer.drain()


async def serve(commands: Mapping[str, Command], governor: Governor, say: Say, bounds: Bounds = Bounds()) -> None:
    """Serve the client on standard input and output until it hangs up, or the process is asked to end.

    Raises:
        ValueError: a server cannot be called so.
    """
    reader, output = await _client_streams(bounds.message_bytes)
    proxy: Proxy

    def heard(server: ServerProcess, message: Message) -> None:
        proxy.from_server(server, message)

    servers = {
        name: ServerProcess(name, command, heard, say, bounds.message_bytes) for name, command in commands.items()
    }
    proxy = Proxy(servers, governor, output.send, say, bounds.call_seconds, bounds.pins)
    for server in servers.values():
        try:
            await server.start()
        except ServerGoneError as error:
            say(str(error))
    writing = asyncio.create_task(output.run())
    try:
        await _until_hung_up(reader, proxy, bounds.message_bytes)
    finally:
        await proxy.close()
        output.end()
        await writing


async def _until_hung_up(reader: asyncio.StreamReader, proxy: Proxy, limit: int) -> None:
    async def listen() -> None:
        async for line in lines(reader, limit=limit):
            if isinstance(line, TooLong):
                proxy.say(f"a message of the client was {line.size} bytes long, at most {limit} are taken")
            else:
                proxy.from_client(line)

    listening = asyncio.create_task(listen())
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, listening.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await listening


async def _client_streams(limit: int) -> tuple[asyncio.StreamReader, _Output]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(sys.stdin.fileno(), "rb", 0))
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(sys.stdout.fileno(), "wb", 0)
    )
    return reader, _Output(asyncio.StreamWriter(transport, protocol, reader, loop))
