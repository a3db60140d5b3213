"""Telling the control plane what came of calls: in the order in which the calls of a session ended, until it knows.

A call's answer never waits for this. What is not told yet stays in the spool, if there is one, so that neither a
control plane that is away nor the end of this process forgets a call that was made. Telling the same twice counts
once, so what was perhaps told is told again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse

from aisecops_client.errors import AccessRefusedError, AisecopsClientError, FaultError, RetryLaterError
from aisecops_client.spool import Kept, Spool, SpoolError

say = logging.getLogger(__name__).warning
Say = Callable[[str], None]
Tell = Callable[[CompleteRequest], Awaitable[CompleteResponse]]
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 15.0
# How long the end of a connection waits for what is not told yet.
LAST_SECONDS = 2.0


@dataclass(slots=True)
class Completions:
    """What came of the calls of one agent, session by session. ``spool`` keeps it, and without one only memory does.

    With ``opened`` the spool is open only while somebody tells or something waits, so that agents who come and go leave
    nothing open behind.
    """

    spool: Spool | None = None
    say: Say = say
    pause: Callable[[float], Awaitable[Any]] = asyncio.sleep
    opened: Callable[[], Spool] | None = None
    _tellers: list[Tell] = field(default_factory=list, init=False)
    _some: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _waiting: dict[str, deque[Kept]] = field(default_factory=dict, init=False)
    _telling: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    # Sessions of which something could not be told at once, and what is being synchronised because of that.
    _late: set[str] = field(default_factory=set, init=False)
    _securing: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        """Begin with what ended processes left behind."""
        self._take_left()

    def _take_left(self) -> None:
        for note in self.spool.notes if self.spool else ():
            self.say(note)
        for kept in self.spool.left if self.spool else ():
            if kept.request.grant_id:
                self._waiting.setdefault(kept.session, deque()).append(kept)
            else:
                self.say(f"{kept.path} says nothing that can be told, and is removed")
                self._forget(kept)
        if self._waiting:
            count = sum(map(len, self._waiting.values()))
            self.say(f"what came of {count} calls was not told when this was run last, and is told now")

    def join(self, tell: Tell) -> None:
        """Tell by this from now on, for as long as nothing joins that knows the agent's credential better."""
        self._open()
        self._tellers.append(tell)
        self._some.set()
        for session in list(self._waiting):
            self._go_on(session)

    def leave(self, tell: Tell) -> None:
        """Tell by this no more; what is left waits for who joins next."""
        self._tellers.remove(tell)
        if not self._tellers:
            self._some.clear()
            if self.opened is not None and self.spool is not None and not self._waiting:
                self.spool.close()
                self.spool = None

    def add(self, session: str, request: CompleteRequest) -> None:
        """Have told what came of a call, after all that came of the calls of its session before."""
        kept = Kept(session, request)
        if not self._tellers:
            self._open()
        if self.spool is not None:
            try:
                kept = self.spool.keep(session, request)
            except SpoolError as error:
                self.say(f"what came of the grant {request.grant_id} is in memory only: {error}")
        self.add_kept(kept)

    def add_kept(self, kept: Kept) -> None:
        """Have told what is kept of a call already, after all that came of the calls of its session before."""
        self._waiting.setdefault(kept.session, deque()).append(kept)
        if kept.session in self._late:
            self._secure(kept)
        self._go_on(kept.session)

    @property
    def some_wait(self) -> bool:
        """Return whether anything is not told yet."""
        return bool(self._waiting)

    async def settle(self, session: str, seconds: float = LAST_SECONDS) -> None:
        """Return when what came of the calls of a session is told, or after ``seconds``: the spool has the rest."""
        if (task := self._telling.get(session)) is not None:
            await asyncio.wait([task], timeout=seconds)

    async def close(self) -> None:
        """Tell what can be told in a moment, and let whoever comes next have what is left."""
        telling = list(self._telling.values())
        if telling and self._tellers:
            await asyncio.wait(telling, timeout=LAST_SECONDS)
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, *self._securing, return_exceptions=True)
        for kept in (kept for waiting in self._waiting.values() for kept in waiting):
            where = "it is kept, and told when this is run again" if kept.path else "it is not kept anywhere"
            self.say(f"what came of the grant {kept.request.grant_id} could not be told: {where}")
        if self.spool is not None:
            self.spool.close()

    def _open(self) -> None:
        """Open the spool if it is not, with what others left behind; whoever joins next tries again."""
        if self.spool is not None or self.opened is None:
            return
        try:
            self.spool = self.opened()
        except SpoolError as error:
            self.say(f"what came of calls is lost if this ends before it is told: {error}")
        else:
            self._take_left()

    def _go_on(self, session: str) -> None:
        if session not in self._telling:
            self._telling[session] = asyncio.create_task(self._tell_all(session))

    async def _tell_all(self, session: str) -> None:
        waiting = self._waiting[session]
        try:
            while waiting:
                await self._told(waiting[0])
                self._forget(waiting.popleft())
            # Nothing is awaited after it was seen to be empty, so nothing can have been added.
            del self._waiting[session]
            self._late.discard(session)
        finally:
            del self._telling[session]

    async def _told(self, kept: Kept) -> None:
        """Return when the control plane has heard it, or says that it never takes it."""
        pause = _FIRST_PAUSE_SECONDS
        while not await self._taken(kept):
            await self.pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _taken(self, kept: Kept) -> bool:
        """Tell it once; false when it has to be told again."""
        grant = kept.request.grant_id
        while not self._tellers:
            self._turns_late(kept.session)
            await self._some.wait()
        try:
            answer = await self._tellers[-1](kept.request)
        except AisecopsClientError as error:
            if not passes(error):
                self.say(f"what came of the grant {grant} is not taken: {error}")
                return True
            if self._turns_late(kept.session):
                self.say(f"what came of the grant {grant} could not be told yet: {error}")
            if self.spool is not None and self.spool.is_too_old(kept):
                self.say(f"what came of the grant {grant} is dropped: it could not be told for too long")
                return True
            return False
        except asyncio.CancelledError:
            # A connection that is given up ends what is asked over it; whoever ends this task means this task.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return False
        for kind in answer.incidents:
            self.say(f"the call by grant {grant} is an incident: {kind}")
        return True

    def _turns_late(self, session: str) -> bool:
        """Keep what waits in a session even if the machine fails, until all of it is told; false if it does already."""
        if session in self._late:
            return False
        self._late.add(session)
        for kept in self._waiting[session]:
            self._secure(kept)
        return True

    def _secure(self, kept: Kept) -> None:
        if self.spool is not None and not kept.secured:
            task = asyncio.create_task(self._secured(self.spool, kept))
            self._securing.add(task)
            task.add_done_callback(self._securing.discard)

    async def _secured(self, spool: Spool, kept: Kept) -> None:
        try:
            await asyncio.to_thread(spool.secure, kept)
        except FileNotFoundError:
            # It was told meanwhile.
            return
        except OSError as failed:
            self.say(f"what came of the grant {kept.request.grant_id} may be lost with this machine: {failed}")

    def _forget(self, kept: Kept) -> None:
        if self.spool is not None:
            self.spool.forget(kept)


@dataclass(slots=True)
class CompletionsByAgent:
    """The completions of every agent that calls through one process. ``opened`` opens an agent's spool."""

    opened: Callable[[str], Spool]
    say: Say = say
    _of: dict[str, Completions] = field(default_factory=dict, init=False)

    def of(self, agent: str) -> Completions:
        """Return those of an agent."""
        if agent not in self._of:
            self._of[agent] = Completions(say=self.say, opened=partial(self.opened, agent))
        return self._of[agent]

    async def close(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(completions.close() for completions in self._of.values()))


def passes(error: AisecopsClientError) -> bool:
    """Return whether it may be told another time: nobody answered, or the credential has run out.

    What the grant does not take is an incident, and each time that it is told would be another one.
    """
    if error.reason == "GRANT_NOT_USABLE":
        return False
    ran_out = isinstance(error, AccessRefusedError) and error.code is grpc.StatusCode.UNAUTHENTICATED
    return ran_out or isinstance(error, RetryLaterError | FaultError)
