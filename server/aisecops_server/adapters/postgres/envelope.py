"""What goes to the server in one message with a statement of the driver's: a script before it, another one behind it.

The driver waits for the answer to each statement, which is a round trip for each ``BEGIN`` and each ``COMMIT``. The
server does not ask that of anybody: it works off what it was sent, and answers in that order. So the scripts are
written beside the driver, and their answers taken out of what the server says before the driver hears the rest.
Ordering rule: the script behind is written after the driver wrote its statement and not before. That it was done in
that order is checked by what the server says of its transaction: one that is over by then is taken for no answer.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Coroutine
from typing import Any

import asyncpg

_HEADER_BYTES = 5
_DONE, _REFUSED, _READY = b"C"[0], b"E"[0], b"Z"[0]
# What the server says of a session whose transaction is over.
_IDLE = b"I"[0]


class EnvelopeError(Exception):
    """The server's answers are not those to what was said."""


class _Script:
    """What the server said to a script."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.tag = ""
        self.error: Exception | None = None
        self.over: asyncio.Future[None] = loop.create_future()
        # Also where nobody asks any more, because the statement failed.
        self.over.add_done_callback(lambda over: over.cancelled() or over.exception())

    def hear(self, kind: int, said: bytes) -> None:
        if kind == _DONE:
            self.tag = said.rstrip(b"\0").decode()
        elif kind == _REFUSED:
            self.error = self.error or _error(said)
        elif kind == _READY and not self.over.done():
            self.over.set_result(None)

    def lose(self) -> None:
        if not self.over.done():
            self.over.set_exception(self.error or asyncpg.ConnectionDoesNotExistError("the connection was closed"))


class _Envelope(asyncio.Protocol):
    """Hears the server in the driver's place, and passes on to it what is the driver's."""

    def __init__(self, driver: Any, before: _Script | None, after: _Script | None) -> None:
        self._driver = driver
        self._heard = bytearray()
        # Whose answers come, in order; ``None`` is the driver.
        self._turns = deque([*([before] if before else []), None, *([after] if after else [])])
        self.is_over_early = False

    def skip_driver(self) -> None:
        """Expect nothing for the driver: it said nothing."""
        self._turns.remove(None)

    def data_received(self, data: bytes) -> None:
        """Take what came apart."""
        self._heard += data
        at, passed = 0, bytearray()
        while len(self._heard) - at >= _HEADER_BYTES:
            end = at + 1 + int.from_bytes(self._heard[at + 1 : at + _HEADER_BYTES])
            if len(self._heard) < end:
                break
            if self._is_driven(self._heard[at], bytes(self._heard[at + _HEADER_BYTES : end])):
                passed += self._heard[at:end]
            at = end
        del self._heard[:at]
        if passed:
            self._driver.data_received(bytes(passed))

    def _is_driven(self, kind: int, said: bytes) -> bool:
        turn = self._turns[0] if self._turns else None
        if kind == _READY and self._turns:
            self._turns.popleft()
            self.is_over_early = self.is_over_early or (len(self._turns) > 0 and said[0] == _IDLE)
        if turn is None:
            return True
        turn.hear(kind, said)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        for turn in self._turns:
            if turn is not None:
                turn.lose()
        self._driver.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._driver.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._driver.resume_writing()


async def carried(
    connection: Any, asking: Coroutine[Any, Any, list[Any]], *, before: str, after: str, seconds: float
) -> tuple[list[Any], str]:
    """Return what ``asking``, which is one statement of the driver's, finds between two scripts in one message.

    Beside it the tag of the last command of ``after``; either may be empty. The server is waited for as long as the
    driver waits for the statement, and for ``seconds`` more for what is behind it. Whoever gets another error than one
    that the server or the driver's encoding gave can go on with this connection no more.

    Raises:
        asyncpg.PostgresError: what the server refused first. What is behind it has been answered, too.
    """
    loop, transport = asyncio.get_running_loop(), connection._transport  # noqa: SLF001 - the driver has no other way to it
    first, last = _Script(loop) if before else None, _Script(loop) if after else None
    driver = transport.get_protocol()
    envelope = _Envelope(driver, first, last)
    transport.set_protocol(envelope)
    if before:
        transport.write(_said(before))
    task = loop.create_task(asking)
    try:
        # One turn of the loop, in which the driver writes all of its statement, or fails to.
        await asyncio.sleep(0)
        if task.done():
            envelope.skip_driver()
        elif after:
            transport.write(_said(after))
        return await _answers(envelope, task, first, None if task.done() else last, seconds=seconds)
    finally:
        task.cancel()
        transport.set_protocol(driver)


async def _answers(
    envelope: _Envelope, task: asyncio.Task[list[Any]], first: _Script | None, last: _Script | None, *, seconds: float
) -> tuple[list[Any], str]:
    refused: Exception | None = None
    rows: list[Any] = []
    try:
        rows = await task
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        refused = error
    for script in (first, last):
        if script:
            await asyncio.wait_for(script.over, seconds)
    if envelope.is_over_early:
        raise EnvelopeError("the transaction was over before it was to be ended")
    if problem := (first.error if first else None) or refused or (last.error if last else None):
        raise problem
    return rows, last.tag if last else ""


def _said(script: str) -> bytes:
    text = script.encode() + b"\0"
    return b"Q" + struct.pack("!I", len(text) + 4) + text


def _error(said: bytes) -> Exception:
    fields = {chr(part[0]): part[1:].decode(errors="replace") for part in said.split(b"\0") if part}
    error: Exception = asyncpg.PostgresError.new(fields)
    return error
