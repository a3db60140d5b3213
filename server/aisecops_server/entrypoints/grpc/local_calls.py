"""Calls of the API within the process: the same handlers, behind the same gate, without the wire.

What calls this way is authenticated and held to its roles exactly as over gRPC, and who is turned away is recorded
alike. There is no call here that the wire does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from google.protobuf.message import Message

from aisecops_server.domain.callers.identity import Presented, Principal
from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.formats.trace_parent import NOWHERE, TraceParent
from aisecops_server.entrypoints.grpc import access, status
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.doors import Doors
from aisecops_server.entrypoints.grpc.methods import Gate, Patience, noting

_PACKAGE = "/aisecops.v1."
_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class LocalCalls:
    """Calls by ``Service/Method``, for whoever presents a credential. Every error is one of the control plane's."""

    doors: Doors

    def whoever(self, presented: Presented) -> Principal:
        """Return who presents this.

        Raises:
            UnauthenticatedError: it proves nobody.
            AisecopsError: no tenant here is the caller's, as of ``Doors.gate``.
        """
        self.doors.gate(presented)
        return self.doors.authenticator.authenticate(presented)

    def noted(self, call: str, peer: str) -> contextlib.AbstractContextManager[None]:
        """Tell of whoever is turned away in the block, as of those whom a call turns away."""
        return noting(self.doors.note, call, peer)

    def tenant(self, presented: Presented) -> str:
        """Return whose everything is that ``presented`` gets to see; errors as of ``whoever``."""
        return self.doors.gate(presented).tenant

    @property
    def _any(self) -> Gate:
        # Every tenant is offered the same calls.
        return next(iter(self.doors.gates.values()))

    def may(self, principal: Principal, call: str) -> bool:
        """Return whether the roles of ``principal`` include a call that is offered here."""
        offered = _PACKAGE + call in self._any.unaries or _PACKAGE + call in self._any.streams
        return offered and not principal.roles.isdisjoint(access.ROLES_OF_CALL.get(_PACKAGE + call, frozenset()))

    async def unary(self, call: str, request: Message, answer: type[_M], *, presented: Presented, peer: str) -> _M:
        """Make a call with one answer.

        Raises:
            UnauthenticatedError, NotPermittedError: the caller is turned away.
            NotFoundError: the API has no such call.
            AisecopsError: what the call itself raises.
        """
        caller = self.begin(call, lambda: presented, peer=peer)
        return _expected(await self.answer(caller, request.SerializeToString()), answer)

    async def stream(
        self, call: str, request: Message, answer: type[_M], *, presented: Presented, peer: str
    ) -> AsyncGenerator[_M]:
        """Make a call with many answers; errors as of ``unary``."""
        caller = self.begin(call, lambda: presented, peer=peer)
        async with contextlib.aclosing(self.answers(caller, request.SerializeToString())) as answers:
            async for found in answers:
                yield _expected(found, answer)

    def begin(
        self,
        call: str,
        present: Callable[[], Presented],
        *,
        peer: str,
        seconds: float | None = None,
        parent: TraceParent = NOWHERE,
    ) -> Caller:
        """Let somebody in before the request is read: who asks, may they, and could it get a turn at all.

        ``present`` returns the credential, and may raise where there is not one; ``seconds`` is the time that the
        caller gives, clamped as over gRPC.

        Raises:
            UnauthenticatedError, NotPermittedError: the caller is turned away.
            NotFoundError: the API has no such call, or no tenant here is the caller's.
            OverloadedError: there is no room for it.
        """
        full = _PACKAGE + call
        if full in self._any.unaries:
            patience = self._any.unaries[full][1]
        elif full in self._any.streams:
            patience = Patience.WORK
        else:
            raise NotFoundError(f"the API has no call {call}")
        gate, presented = self.doors.entered(full, present, peer)
        caller = gate.admit(full, lambda: presented, peer, patience, seconds=seconds, parent=parent)
        if full in gate.checks:
            gate.checks[full](caller)
        return caller

    async def answer(self, caller: Caller, request: bytes) -> Message:
        """Make the call that ``caller`` was let in for, which has one answer; errors as of ``unary``."""
        unaries = self.doors.gates[caller.tenant].unaries
        if caller.call not in unaries:
            raise NotFoundError(f"{caller.call} has no single answer")
        try:
            async with asyncio.timeout(caller.seconds):
                return await unaries[caller.call][0](request, caller)
        except Exception as error:
            raise status.as_known(error) from error

    async def answers(self, caller: Caller, request: bytes) -> AsyncGenerator[Message]:
        """Make the call that ``caller`` was let in for, which has many answers; errors as of ``unary``."""
        streams = self.doors.gates[caller.tenant].streams
        if caller.call not in streams:
            raise NotFoundError(f"{caller.call} is no stream")
        handler = cast("AsyncGenerator[Message]", streams[caller.call](request, caller))
        try:
            # Whoever goes away in the middle gives back at once what the handler holds.
            async with contextlib.aclosing(handler):
                async for found in handler:
                    yield found
        except Exception as error:
            raise status.as_known(error) from error


def _expected(found: Message, answer: type[_M]) -> _M:
    if not isinstance(found, answer):
        raise TypeError(f"{answer.__name__} was expected, not {type(found).__name__}")
    return found
