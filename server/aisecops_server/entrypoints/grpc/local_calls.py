"""Calls of the API within the process: the same handlers, behind the same gate, without the wire.

What calls this way is authenticated and held to its roles exactly as over gRPC, and who is turned away is recorded
alike. There is no call here that the wire does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.identity import Presented, Principal
from aisecops_server.entrypoints.grpc import access, status
from aisecops_server.entrypoints.grpc.methods import Gate, Patience

_PACKAGE = "/aisecops.v1."
_M = TypeVar("_M", bound=Message)


@dataclass(frozen=True, slots=True)
class LocalCalls:
    """Calls by ``Service/Method``, for whoever presents a credential. Every error is one of the control plane's."""

    gate: Gate

    def whoever(self, presented: Presented) -> Principal:
        """Return who presents this.

        Raises:
            UnauthenticatedError: it proves nobody.
        """
        return self.gate.authenticator.authenticate(presented)

    def may(self, principal: Principal, call: str) -> bool:
        """Return whether the roles of ``principal`` include a call."""
        return not principal.roles.isdisjoint(access.ROLES_OF_CALL.get(_PACKAGE + call, frozenset()))

    async def unary(self, call: str, request: Message, answer: type[_M], *, presented: Presented, peer: str) -> _M:
        """Make a call with one answer.

        Raises:
            UnauthenticatedError, NotPermittedError: the caller is turned away.
            NotFoundError: the API has no such call.
            AisecopsError: what the call itself raises.
        """
        full = _PACKAGE + call
        if full not in self.gate.unaries:
            raise NotFoundError(f"the API has no call {call}")
        handler, patience = self.gate.unaries[full]
        caller = self.gate.enter(full, presented, peer, patience)
        try:
            async with asyncio.timeout(caller.seconds):
                found = await handler(request.SerializeToString(), caller)
        except Exception as error:
            raise status.as_known(error) from error
        return _expected(found, answer)

    async def stream(
        self, call: str, request: Message, answer: type[_M], *, presented: Presented, peer: str
    ) -> AsyncIterator[_M]:
        """Make a call with many answers; errors as of ``unary``."""
        full = _PACKAGE + call
        if full not in self.gate.streams:
            raise NotFoundError(f"the API has no call {call}")
        caller = self.gate.enter(full, presented, peer, Patience.WORK)
        try:
            async for found in self.gate.streams[full](request.SerializeToString(), caller):
                yield _expected(found, answer)
        except Exception as error:
            raise status.as_known(error) from error


def _expected(found: Message, answer: type[_M]) -> _M:
    if not isinstance(found, answer):
        raise TypeError(f"{answer.__name__} was expected, not {type(found).__name__}")
    return found
