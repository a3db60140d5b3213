"""A small keep-alive HTTP/1.1 client for one engine's Unix socket.

It exists because the client library is the largest avoidable cost of a decision: a general client adds up to two
milliseconds to an evaluation of less than one. It owns connections, deadlines and strict parsing of replies, and
knows nothing of policy. The library client serves where its cost does not matter (``management``).

Rules: one request at a time on a connection; a deadline or a cancelled caller closes the connection, which is
what makes the engine stop evaluating; a reply that breaks the protocol or a limit closes it too; a request is
sent again only when a reused connection turned out to be closed before any byte of a reply came.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError, NoDecisionError

_HEAD_BYTES = 16 * 1024
_CHUNK_LINE_BYTES = 64
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [\t\x20-\x7e]*)?")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})")


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply."""

    status: int
    body: bytes


class _StaleConnectionError(Exception):
    """A reused connection was closed by the engine before it answered."""


class Client:
    """Requests to one socket over at most ``connections`` connections; further callers wait their turn."""

    def __init__(self, socket: Path, *, connections: int) -> None:
        self._socket = str(socket)
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._closed = False

    async def post(self, target: bytes, parts: Sequence[bytes], *, deadline_seconds: float, limit: int) -> Reply:
        """Post ``parts`` joined as one JSON body and return the reply, of at most ``limit`` bytes.

        Raises:
            EngineUnavailableError: no connection, or no complete reply within the deadline.
            NoDecisionError: the reply is not HTTP as the engine speaks it, or too large.
        """
        length = b"%d" % sum(map(len, parts))
        head = (
            b"POST ",
            target,
            b" HTTP/1.1\r\nHost: opa\r\nContent-Type: application/json\r\nContent-Length: ",
            length,
        )
        return await self._request(b"".join((*head, b"\r\n\r\n", *parts)), deadline_seconds, limit)

    async def _request(self, request: bytes, deadline_seconds: float, limit: int) -> Reply:
        try:
            async with asyncio.timeout(deadline_seconds), self._slots:
                try:
                    return await self._exchange(self._take() or await self._connect(), request, limit)
                except _StaleConnectionError:
                    return await self._exchange(await self._connect(), request, limit)
        except TimeoutError as error:
            raise no_answer_within(deadline_seconds) from error
        except _StaleConnectionError as error:
            raise _unreachable("it closed a new connection without an answer") from error

    async def _exchange(self, connection: _Connection, request: bytes, limit: int) -> Reply:
        try:
            reply = await connection.exchange(request, limit)
        except BaseException:
            connection.close()
            raise
        if connection.is_open and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, protocol = await loop.create_unix_connection(_Connection, self._socket)
        except OSError as error:
            raise _unreachable(error.strerror or "refused") from error
        return protocol

    def close(self) -> None:
        """Close every idle connection; connections in use close with their reply."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


class _Connection(asyncio.Protocol):
    """One connection: sends a request, parses its reply, and is closed by anything unexpected."""

    __slots__ = (
        "_answer",
        "_buffer",
        "_chunks",
        "_consumed",
        "_length",
        "_limit",
        "_status",
        "_transport",
        "_used",
        "is_open",
    )

    def __init__(self) -> None:
        self.is_open = False
        self._used = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._limit = 0
        self._start()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    async def exchange(self, request: bytes, limit: int) -> Reply:
        """Send ``request`` and return its reply."""
        if self._transport is None or not self.is_open:
            raise _StaleConnectionError
        self._limit = limit
        self._start()
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._transport.write(request)
        try:
            return await answer
        finally:
            self._answer = None
            self._used = True

    def close(self) -> None:
        """Close at once; the engine sees it and stops evaluating."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # nobody asked for this
            return
        self._buffer += data
        try:
            reply = self._parse()
        except NoDecisionError as error:
            self._fail(error)
        else:
            if reply is not None:
                self._answer.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- the base class names it
        self.is_open = False
        if self._used and not self._buffer and not self._chunks and self._status == 0:
            self._fail(_StaleConnectionError())
        else:
            self._fail(_unreachable("it closed the connection before its answer was complete"))

    def _fail(self, error: AisecopsError | _StaleConnectionError) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def _start(self) -> None:
        self._buffer = bytearray()
        self._chunks: list[bytes] = []
        self._status = 0
        self._length = -1
        self._consumed = 0

    def _parse(self) -> Reply | None:
        if self._status == 0 and not self._parse_head():
            return None
        body = self._chunked_body() if self._length < 0 else self._plain_body()
        return None if body is None else Reply(self._status, body)

    def _parse_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > _HEAD_BYTES:
            if len(self._buffer) > _HEAD_BYTES:
                raise _malformed("its headers are too large")
            return False
        status, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        match = _STATUS_LINE.fullmatch(status)
        if match is None:
            raise _malformed("it does not begin with a status line")
        self._read_framing(lines)
        self._status = int(match.group(1))
        del self._buffer[: end + 4]
        return True

    def _read_framing(self, lines: list[bytes]) -> None:
        framing = []
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise _malformed("it has a malformed header")
            match name.lower():
                case b"content-length" | b"transfer-encoding":
                    framing.append((name.lower(), value.strip()))
                case b"connection" if value.strip().lower() == b"close":
                    self.is_open = False  # not to be used again
        match framing:
            case [(b"content-length", value)] if value.isdigit() and len(value) <= len(str(self._limit)) + 1:
                self._length = int(value)
            case [(b"transfer-encoding", b"chunked")]:
                self._length = -1
            case [(b"content-length", value)] if value.isdigit():
                raise _too_large(self._limit)
            case _:
                raise _malformed("it does not say how long it is")
        if self._length > self._limit:
            raise _too_large(self._limit)

    def _plain_body(self) -> bytes | None:
        if len(self._buffer) > self._length:
            raise _malformed("it is longer than it said")
        return bytes(self._buffer) if len(self._buffer) == self._length else None

    def _chunked_body(self) -> bytes | None:
        start = 0
        while (end := self._buffer.find(b"\r\n", start, start + _CHUNK_LINE_BYTES)) >= 0:
            match = _CHUNK_LINE.fullmatch(self._buffer, start, end)
            if match is None:
                raise _malformed("it has a malformed chunk")
            size = int(match.group(1), 16)
            following = end + 2 + size
            if size > self._limit:
                raise _too_large(self._limit)
            if len(self._buffer) < following + 2:
                break
            if self._buffer[following : following + 2] != b"\r\n":
                raise _malformed("it has a malformed chunk")
            if size == 0:
                return self._joined(following + 2)
            self._chunks.append(bytes(self._buffer[end + 2 : following]))
            start = following + 2
        self._keep(start)
        return None

    def _keep(self, start: int) -> None:
        del self._buffer[:start]
        self._consumed += start
        if self._consumed + len(self._buffer) > self._limit + _HEAD_BYTES:
            raise _too_large(self._limit)
        if len(self._buffer) > _CHUNK_LINE_BYTES and b"\r\n" not in self._buffer[:_CHUNK_LINE_BYTES]:
            raise _malformed("it has a malformed chunk")

    def _joined(self, end: int) -> bytes:
        if end != len(self._buffer):
            raise _malformed("it is longer than it said")
        body = b"".join(self._chunks)
        if len(body) > self._limit:
            raise _too_large(self._limit)
        return body


def no_answer_within(seconds: float) -> EngineUnavailableError:
    """Return the error for an engine that lets its caller wait for longer than that."""
    return EngineUnavailableError(
        f"the engine gave no answer within {seconds * 1000:.0f} ms",
        hint="Retry; if it persists, look for an expensive rule with 'aisecops explain'",
        why="deadline",
    )


def _malformed(what: str) -> NoDecisionError:
    return NoDecisionError(
        f"the engine's reply is not one: {what}",
        hint="Nothing was allowed. Run 'aisecops doctor'",
        why="malformed reply",
    )


def _too_large(limit: int) -> NoDecisionError:
    return NoDecisionError(
        f"the engine's reply is larger than {limit} bytes",
        hint="Nothing was allowed. Look for a rule that returns too much",
        why="reply too large",
    )


def _unreachable(what: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"the engine cannot be reached: {what}",
        hint="Retry; it restarts by itself. See 'aisecops doctor'",
        why="unreachable",
    )
