"""The connections of all callers: each is found by who began it only, and ends when nobody uses it any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aisecops_mcp.callers import Caller, Door
from aisecops_mcp.connection import Connection
from aisecops_mcp.opening import Reached
from aisecops_mcp.stdio import Bounds
from aisecops_mcp.talk import Say

IDLE_SECONDS = 1800.0
_LOOK_SECONDS = 5.0
CONNECTIONS, CONNECTIONS_OF_CALLER = 256, 64


class NoSuchSessionError(Exception):
    """A session is not there, or is somebody else's: which of the two, nobody is told."""


class TooManyError(Exception):
    """No more connections can be begun now."""


@dataclass(slots=True)
class Connections:
    """Connections by the id of their session, and one of each caller who has none.

    ``new_id`` gives an id that cannot be guessed. ``idle_seconds`` is how long one is kept that nobody uses.
    """

    places: Mapping[str, Reached]
    bounds: Bounds
    door: Door
    say: Say
    new_id: Callable[[], str]
    idle_seconds: float = IDLE_SECONDS
    _sessions: dict[str, Connection] = field(default_factory=dict, init=False)
    _sessionless: dict[str, Connection] = field(default_factory=dict, init=False)
    _opening: dict[str, asyncio.Lock] = field(default_factory=dict, init=False)
    _closing: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def begin(self, caller: Caller) -> Connection:
        """Begin a session.

        Raises:
            TooManyError: there are too many, and all of the caller's are in use.
        """
        self._make_room(caller)
        made = Connection(self.new_id(), caller, self.door, self.say)
        made.using, self._sessions[made.id] = 1, made
        try:
            await made.open(self.places, self.bounds)
        except BaseException:
            self.end(made)
            raise
        finally:
            made.using -= 1
        return made

    def session(self, id: str, caller: Caller) -> Connection:
        """Return a session of the caller.

        Raises:
            NoSuchSessionError: it has none of that id.
        """
        found = self._sessions.get(id)
        if found is None or found.caller.agent != caller.agent:
            raise NoSuchSessionError
        return found

    async def sessionless(self, caller: Caller) -> Connection:
        """Return the connection of a caller without a session, with servers that run.

        Raises:
            TooManyError: there are too many.
        """
        async with self._opening.setdefault(caller.agent, asyncio.Lock()):
            found = self._sessionless.get(caller.agent)
            if found is None:
                self._make_room(caller)
                found = Connection("", caller, self.door, self.say)
                try:
                    await found.open(self.places, self.bounds)
                except BaseException:
                    self._close(found)
                    raise
                self._sessionless[caller.agent] = found
                # Used from now on, so that it is not swept away before its first request.
                found.used_at = asyncio.get_running_loop().time()
            await found.revive()
            return found

    def end(self, connection: Connection) -> None:
        """End a connection: from now on nobody finds it."""
        if self._sessions.get(connection.id) is connection:
            del self._sessions[connection.id]
        if self._sessionless.get(connection.caller.agent) is connection:
            del self._sessionless[connection.caller.agent]
        self._close(connection)

    @contextlib.contextmanager
    def used(self, connection: Connection) -> Any:
        """Hold a connection while the block runs."""
        connection.using += 1
        try:
            yield
        finally:
            connection.using -= 1
            connection.used_at = asyncio.get_running_loop().time()

    async def sweep(self) -> None:
        """End what nobody has used for long, for as long as this runs."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            before = asyncio.get_running_loop().time() - self.idle_seconds
            for connection in self._all():
                if connection.streams.overflowed:
                    self.say("a client does not read what it is answered, so its connection ends here")
                    self.end(connection)
                elif connection.is_idle and connection.used_at < before:
                    self.end(connection)

    async def close(self) -> None:
        """End all of them, and return when they have ended."""
        for connection in self._all():
            self.end(connection)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    def _all(self) -> list[Connection]:
        return [*self._sessions.values(), *self._sessionless.values()]

    def _make_room(self, caller: Caller) -> None:
        """End the session that the caller has not used for longest, where it has too many.

        Raises:
            TooManyError: none of them can be ended, or there are too many of all callers.
        """
        own = [one for one in self._sessions.values() if one.caller.agent == caller.agent]
        if len(own) >= CONNECTIONS_OF_CALLER or len(self._all()) >= CONNECTIONS:
            idle = [one for one in own if one.is_idle]
            if not idle:
                raise TooManyError
            self.end(min(idle, key=lambda one: one.used_at))

    def _close(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
