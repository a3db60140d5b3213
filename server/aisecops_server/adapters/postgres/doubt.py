"""Whether an answer is late because the server works or because the network lost it: asked of the server itself.

A connection over which nothing comes says nothing of why. Another one does: what the server's session of the first is
doing. While that works, or anything passes, the connection is believed in, however long it takes. When it waits to be
asked, look after look and without anything between them, the answer or the question is lost and nothing will ever come.

The session is ended before the connection is given up, so that what was lost on the way to it and is sent again by
the network cannot take place after somebody has looked whether it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar


class Closable(Protocol):
    """What can be let go of at once."""

    def terminate(self) -> None:
        """Let go of it."""


C = TypeVar("C", bound=Closable)
Connect = Callable[[], Awaitable[Any]]

# How long an answer may take before it is asked after, in seconds; how many looks must be alike, and how long lies
# between them: a session that was only not given a processor has been given one by then.
LATE_SECONDS, _BETWEEN_SECONDS, _LOOKS = 0.4, 0.2, 3
# How soon a connection that is not there yet is tried for beside the first, and how often: on a network that just came
# back, who asks anew is answered before who waits for a message to be repeated.
_AGAIN_SECONDS, _TIMES = 1.0, 4
_SESSION = """
    SELECT state, wait_event, state_change FROM pg_stat_activity WHERE pid = $1 AND usename = current_user"""
_END = """
    WITH silent AS MATERIALIZED (
        SELECT pid FROM pg_stat_activity WHERE pid = $1 AND usename = current_user AND state_change = $2
    )
    SELECT pg_terminate_backend(pid, 1000) FROM silent"""
_GONE = "gone"
_WAITING = ("idle", "idle in transaction", "idle in transaction (aborted)", _GONE)
# Linux, struct tcp_info: bytes that the other side has confirmed, and that came from it.
_TCP_INFO_BYTES, _CONFIRMED_AT = 136, 120


@dataclass(frozen=True, slots=True)
class _Look:
    """What a session does, since when, and how much has passed; a server may be set up to tell none of it."""

    state: str | None
    waits_for: str | None
    since: Any
    passed: tuple[int, ...]

    @property
    def is_waiting(self) -> bool:
        """Return whether the server waits to be asked, for the rest of a question, or has ended the session."""
        return self.state in _WAITING or (self.state == "active" and self.waits_for == "ClientRead")


async def until_silent(connection: Any, connect: Connect) -> None:
    """Return when nothing more can come over ``connection``, whose session on the server is ended then."""
    while True:
        # Nobody can be asked while the network is away: tried again for as long as somebody waits.
        with contextlib.suppress(Exception):
            other = await soonest(connect)
            try:
                await _looked(connection, other)
            finally:
                other.terminate()
            return
        await asyncio.sleep(_BETWEEN_SECONDS)


async def soonest(connect: Callable[[], Awaitable[C]]) -> C:
    """Connect, beside an attempt that is late a few times more, and return what is there first."""
    attempts: list[asyncio.Future[C]] = []
    try:
        while True:
            attempts.append(asyncio.ensure_future(connect()))
            wait = _AGAIN_SECONDS if len(attempts) < _TIMES else None
            done, _ = await asyncio.wait(attempts, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return attempts.pop(attempts.index(done.pop())).result()
    finally:
        for attempt in attempts:
            attempt.cancel()
        for made in await asyncio.gather(*attempts, return_exceptions=True):
            if not isinstance(made, BaseException):
                made.terminate()


def can_be_doubted(connection: Any) -> bool:
    """Return whether there is a network in between, of which the system tells what has passed."""
    return bool(_passed(connection))


async def _looked(connection: Any, other: Any) -> None:
    pid, looks = connection.get_server_pid(), list[_Look]()
    while True:
        state, waits_for, since = await other.fetchrow(_SESSION, pid) or (_GONE, None, None)
        looks = [*looks[1 - _LOOKS :], _Look(state, waits_for, since, _passed(connection))]
        is_silent = looks == looks[:1] * _LOOKS and looks[0].is_waiting
        # A session that went on since the last look is none to end.
        if is_silent and (state == _GONE or await other.fetch(_END, pid, since)):
            return
        await asyncio.sleep(_BETWEEN_SECONDS)


def _passed(connection: Any) -> tuple[int, ...]:
    near = connection._transport.get_extra_info("socket")  # noqa: SLF001 - the driver has no other way to its socket
    if near is None or near.family == socket.AF_UNIX or not hasattr(socket, "TCP_INFO"):
        return ()
    try:
        told = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return ()  # it broke meanwhile, which whoever uses it next is told
    return struct.unpack_from("=QQ", told, _CONFIRMED_AT) if len(told) == _TCP_INFO_BYTES else ()
