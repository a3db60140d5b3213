"""What came of guarded calls: on disk before a result is handed on, told at once if that can be, and else until it is.

It is kept for one caller of one control plane (``whose_spool``), in the spool that the MCP proxy has as well: told by
anybody else, it would be a report of somebody else's call.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import grpc
from aisecops.v1.execution_service_pb2 import CompleteRequest, CompleteResponse

from aisecops_client.completions import LAST_SECONDS, Completions, passes
from aisecops_client.errors import AisecopsClientError, RetryLaterError
from aisecops_client.spool import Kept, Spool, SpoolError

# What this process could not tell at once is told in one order.
_SESSION = "guard"
_JOIN_SECONDS = LAST_SECONDS + 1.0
_say = logging.getLogger(__name__).warning


def whose_spool(address: str, tenant: str, token: str, agent_id: str) -> str:
    """Return whose calls are told over a connection: the token's subject, or the agent that is named.

    The token is read and not verified; it only has to tell apart what belongs to whom.

    Raises:
        ValueError: nobody says who it is, or which control plane.
    """
    if not address:
        raise ValueError("a spool belongs to one control plane: make the client by connect, which knows its address")
    agent = _subject(token) or agent_id
    if not agent:
        raise ValueError("a spool belongs to one agent, and the token names none: give agent_id")
    return f"{address}\n{tenant}\n{agent}"


def _subject(token: str) -> str:
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError, RecursionError):
        return ""
    return str(claims.get("sub", "")) if isinstance(claims, dict) else ""


class Keeper:
    """The spool of a guard: its own folder in it, and another one after a fork."""

    def __init__(self, root: Path, whose: str, new_key: Callable[[], str], say: Callable[[str], None] = _say) -> None:
        """Open it, which takes over what ended processes left.

        Raises:
            SpoolError: nothing can be kept there.
        """
        self._opened: Callable[[], Spool] = lambda: Spool.open(root, whose, new_key())
        self.say = say
        self.spool: Spool | None = self._opened()
        self._lock = threading.Lock()
        _KEEPERS.add(self)

    def keep(self, request: CompleteRequest) -> Kept:
        """Return what came of a call, kept so that it outlives the machine. Where that fails, it is said."""
        grant = request.grant_id
        try:
            spool = self._at_hand()
            kept = spool.keep(_SESSION, request)
        except SpoolError as error:
            self.say(
                f"the call by the grant {grant} was made, and what came of it is in memory only, lost if this process "
                f"ends before it is told: {error}"
            )
            return Kept(_SESSION, request)
        try:
            spool.secure(kept)
        except OSError as error:
            self.say(
                f"the call by the grant {grant} was made, and what came of it may be lost with this machine: {error}"
            )
        return replace(kept, secured=True)

    def forget(self, kept: Kept) -> None:
        """Keep it no longer, because it is told, or never taken."""
        if self.spool is not None:
            self.spool.forget(kept)

    def heard(self, request: CompleteRequest, answer: CompleteResponse) -> None:
        """Say what the control plane found to be wrong with a call."""
        for kind in answer.incidents:
            self.say(f"the call by grant {request.grant_id} is an incident: {kind}")

    def refused(self, request: CompleteRequest, error: AisecopsClientError) -> None:
        """Say that what came of a call is never taken."""
        self.say(f"what came of the grant {request.grant_id} is not taken: {error}")

    def _at_hand(self) -> Spool:
        with self._lock:
            if self.spool is None:
                self.spool = self._opened()
            return self.spool

    def forked(self) -> None:
        """Leave the folder to the process that made this one by forking; the next call opens another."""
        self._lock = threading.Lock()
        if self.spool is not None:
            self.spool.let_go()
            self.spool = None


_KEEPERS: weakref.WeakSet[Keeper] = weakref.WeakSet()


def _forked() -> None:
    for keeper in list(_KEEPERS):
        keeper.forked()


os.register_at_fork(after_in_child=_forked)


class Telling(Keeper):
    """Tells for callers that block: in their thread, and by a thread of its own what could not be told at once."""

    def __init__(
        self,
        root: Path,
        whose: str,
        complete: Callable[[CompleteRequest], CompleteResponse],
        new_key: Callable[[], str],
    ) -> None:
        super().__init__(root, whose, new_key)
        self._complete = complete
        self._background: _Background | None = None
        self._begin()

    def told(self, request: CompleteRequest) -> None:
        """Return when what came of a call is kept, and told if that can be done at once."""
        self.tell(self.keep(request))

    def tell(self, kept: Kept) -> None:
        """Tell what is kept of a call, at once or later."""
        self._begin()
        background = self._background
        if background is not None:
            # A place that came back after one that could not be opened.
            background.completions.spool = self.spool
        if background is not None and background.completions.some_wait:
            # The control plane was away a moment ago: nobody waits for it again before the thread does.
            background.add(kept)
            return
        try:
            answer = self._complete(kept.request)
        except AisecopsClientError as error:
            if passes(error):
                self.say(f"what came of the grant {kept.request.grant_id} could not be told yet: {error}")
                self._later().add(kept)
                return
            self.refused(kept.request, error)
        else:
            self.heard(kept.request, answer)
        self.forget(kept)

    def catch_up(self) -> None:
        """Tell what waits before something is asked that depends on it; what cannot be told in a moment still waits."""
        if self._background is not None and self._background.completions.some_wait:
            self._background.catch_up()

    def forked(self) -> None:
        """Do as ``Keeper.forked``; the thread is not there in this process, and what it had is not ours."""
        super().forked()
        self._background = None

    def close(self) -> None:
        """Tell what can be told in a moment, and let whoever comes next have what is left."""
        with self._lock:
            background, self._background = self._background, None
        if background is not None:
            background.close()
        elif self.spool is not None:
            self.spool.close()
        self.spool = None

    def _begin(self) -> None:
        """Begin to tell what ended processes left."""
        if self._background is None and self.spool is not None and (self.spool.left or self.spool.notes):
            self._later()

    def _later(self) -> _Background:
        with self._lock:
            if self._background is None:
                self._background = _Background(self.spool, self._complete, self.say)
            return self._background


class _Background:
    """A thread that tells in order what could not be told at once. It ends with its process."""

    def __init__(
        self, spool: Spool | None, complete: Callable[[CompleteRequest], CompleteResponse], say: Callable[[str], None]
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._complete = complete
        self._again = asyncio.Event()
        self.completions = Completions(spool, say, self._pause)
        self._thread = threading.Thread(target=self._loop.run_forever, name="aisecops-tell", daemon=True)
        self._thread.start()
        self._loop.call_soon_threadsafe(self.completions.join, self._tell)

    def add(self, kept: Kept) -> None:
        """Tell it after what waits already."""
        self._loop.call_soon_threadsafe(self.completions.add_kept, kept)

    def catch_up(self) -> None:
        """Try now, and return when what waits is told, or cannot be told in a moment."""
        self._loop.call_soon_threadsafe(self._again.set)
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self.completions.settle(_SESSION), self._loop).result(_JOIN_SECONDS)

    def close(self) -> None:
        """End the thread, after a last attempt."""
        self._loop.call_soon_threadsafe(self._again.set)
        ended = asyncio.run_coroutine_threadsafe(self.completions.close(), self._loop)
        with contextlib.suppress(TimeoutError):
            ended.result(_JOIN_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    async def _tell(self, request: CompleteRequest) -> CompleteResponse:
        # It blocks: the loop has nothing else to do, and its thread is nobody's who waits for a result.
        try:
            return self._complete(request)
        except ValueError as error:
            raise RetryLaterError(f"the client is closed: {error}", grpc.StatusCode.UNAVAILABLE) from error

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._again.wait(), seconds)
        self._again.clear()


class AsyncTelling(Keeper):
    """Tells for coroutines, on their event loop; files are written beside it."""

    def __init__(
        self,
        root: Path,
        whose: str,
        complete: Callable[[CompleteRequest], Awaitable[CompleteResponse]],
        new_key: Callable[[], str],
    ) -> None:
        super().__init__(root, whose, new_key)
        self._complete = complete
        self._completions: Completions | None = None
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            self.begin()

    def begin(self) -> Completions:
        """Begin to tell what ended processes left; return those who tell."""
        if self._completions is None:
            self._completions = Completions(self.spool, self.say)
            self._completions.join(self._tell)
        # Perhaps one that came back, after one that could not be opened.
        self._completions.spool = self.spool
        return self._completions

    async def told(self, request: CompleteRequest) -> None:
        """Return when what came of a call is kept, and told if that can be done at once."""
        kept = await asyncio.to_thread(self.keep, request)
        completions = self.begin()
        if completions.some_wait:
            completions.add_kept(kept)
            return
        try:
            answer = await self._complete(request)
        except AisecopsClientError as error:
            if passes(error):
                self.say(f"what came of the grant {request.grant_id} could not be told yet: {error}")
                completions.add_kept(kept)
                return
            self.refused(request, error)
        else:
            self.heard(request, answer)
        self.forget(kept)

    async def catch_up(self) -> None:
        """Tell what waits before something is asked that depends on it; what cannot be told in a moment still waits."""
        if self._completions is not None and self._completions.some_wait:
            await self._completions.settle(_SESSION)

    def forked(self) -> None:
        """Do as ``Keeper.forked``; the event loop is not there in this process."""
        super().forked()
        self._completions = None

    async def close(self) -> None:
        """Tell what can be told in a moment, and let whoever comes next have what is left."""
        completions, self._completions = self._completions, None
        if completions is not None:
            await completions.close()
        self.let_go()

    def let_go(self) -> None:
        """Let whoever comes next have what is left."""
        if self.spool is not None:
            self.spool.close()
            self.spool = None

    async def _tell(self, request: CompleteRequest) -> CompleteResponse:
        return await self._complete(request)
