"""An MCP server that the proxy runs: a process group of its own, spoken to over its standard input and output.

Ordering: what the server sends is handed on in its order. When it ends, whatever still waits for it is told so; nothing
is sent to it any more, and it is not started again behind its client's back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aisecops_mcp import jsonrpc
from aisecops_mcp.jsonrpc import MalformedError, Message, MessageId
from aisecops_mcp.lines import TooLong, lines
from aisecops_mcp.talk import Say
from aisecops_mcp.upstream import ServerGoneError

STOP_SECONDS = 2.0
_ID_AT_AN_EDGE = re.compile(rb'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)\s*[,}]')
# What says who the agent is stays with the proxy: a server could act as the agent with it.
OWN_VARIABLES = "AISECOPS_"


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started. ``environment`` is added to the proxy's own, without what belongs to AISecOps."""

    line: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None


@dataclass(slots=True)
class ServerProcess:
    """One running server, by the name that policy has for it.

    ``heard`` gets its requests and notifications. ``limit`` is the longest message that is taken from it, in bytes.
    """

    name: str
    command: Command
    heard: Callable[[ServerProcess, Message], None]
    say: Say
    limit: int
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _waiting: dict[MessageId, asyncio.Future[Message]] = field(default_factory=dict, init=False)
    _reading: asyncio.Task[None] | None = field(default=None, init=False)
    _ended: str = field(default="", init=False)
    _stopping: bool = field(default=False, init=False)

    @property
    def has_ended(self) -> bool:
        """Return whether it does not run."""
        return self._process is None or bool(self._ended)

    async def start(self) -> None:
        """Start it.

        Raises:
            ServerGoneError: it cannot be started.
        """
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(OWN_VARIABLES)}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command.line,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**inherited, **self.command.environment},
                cwd=self.command.directory,
                start_new_session=True,
            )
        except OSError as error:
            raise ServerGoneError(f"the server {self.name} cannot be started: {error.strerror or error}") from error
        self._ended, self._stopping = "", False
        self._reading = asyncio.create_task(self._read())

    async def ask(self, id: MessageId, raw: bytes) -> Message:
        """Send a request and return the answer to it.

        Raises:
            ServerGoneError: there is none.
        """
        if self._ended:
            raise ServerGoneError(self._ended)
        if id in self._waiting:
            raise ServerGoneError(f"a request with the id {id!r} is under way already")
        waiting: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[id] = waiting
        try:
            await self.tell(raw)
            return await waiting
        finally:
            del self._waiting[id]

    async def tell(self, raw: bytes) -> None:
        """Send a message that is not answered, or an answer.

        Raises:
            ServerGoneError: it has ended.
        """
        if self._ended or self._process is None or self._process.stdin is None:
            raise ServerGoneError(self._ended or f"the server {self.name} was not started")
        self._process.stdin.write(raw + b"\n")
        try:
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise ServerGoneError(f"the server {self.name} ended") from error

    async def stop(self) -> None:
        """End it and everything that it started: first by closing its input, as MCP wants, then by force."""
        process = self._process
        if process is None:
            return
        self._stopping = True
        if process.stdin is not None:
            process.stdin.close()
        for wanted in (None, signal.SIGTERM, signal.SIGKILL):
            if wanted is not None:
                _signal_group(process.pid, wanted)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
                break
        # Its children may outlive it.
        _signal_group(process.pid, signal.SIGKILL)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        process = self._process
        assert process is not None and process.stdout is not None  # noqa: S101 PT018 - start made them
        async for line in lines(process.stdout, limit=self.limit):
            if isinstance(line, TooLong):
                why = f"an answer of {line.size} bytes was withheld, at most {self.limit} are taken"
                self._fail(_answered(line), why)
            else:
                self._take(line)
        code = await process.wait()
        self._ended = f"the server {self.name} ended with {code}"
        if not self._stopping:
            self.say(self._ended)
        for waiting in list(self._waiting.values()):
            _refuse(waiting, self._ended)

    def _take(self, line: bytes) -> None:
        try:
            message = jsonrpc.read(line)
        except MalformedError as error:
            self._fail(error.id, f"an answer was withheld: {error}")
            return
        if not message.is_answer:
            self.heard(self, message)
        elif message.id in self._waiting:
            waiting = self._waiting[message.id]
            if not waiting.done():
                waiting.set_result(message)
        else:
            self.say(f"the server {self.name} answered {message.id!r}, which nobody asks any more")

    def _fail(self, id: MessageId | None, why: str) -> None:
        self.say(f"from the server {self.name}, {why}")
        # With one request under way there is no doubt what it was the answer to.
        only = next(iter(self._waiting)) if len(self._waiting) == 1 else None
        found = self._waiting.get(only if id is None and only is not None else id)  # type: ignore[arg-type]
        if found is not None:
            _refuse(found, f"from the server {self.name}, {why}")


def _refuse(waiting: asyncio.Future[Message], why: str) -> None:
    if not waiting.done():
        waiting.set_exception(ServerGoneError(why))


def _signal_group(pid: int, wanted: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, wanted)


def _answered(line: TooLong) -> MessageId | None:
    """Return the id in a message that was not kept whole; servers write it at its beginning or at its end."""
    found = [*_ID_AT_AN_EDGE.findall(line.head[:200]), *_ID_AT_AN_EDGE.findall(line.tail[-200:])]
    if len(found) != 1:
        return None
    try:
        return jsonrpc.read(b'{"jsonrpc":"2.0","id":' + found[0] + b',"result":{}}').id
    except MalformedError:
        return None
