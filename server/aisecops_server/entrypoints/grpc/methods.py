"""What happens around every call: who asks, may they, how long may it take, and how it ends when it fails.

Requests arrive as raw bytes and are parsed only after the caller was authenticated and its roles were checked.
A handler returns the serialised answer or raises; every error leaves through ``status.abort``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Presented, Principal
from aisecops_server.domain.callers.refusal import Refusal
from aisecops_server.domain.errors import (
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
    UnauthenticatedError,
)
from aisecops_server.domain.formats.trace_parent import HEADER, NOWHERE, TraceParent, read_trace_parent
from aisecops_server.domain.tenants.tenant import no_such_tenant, tenant_for
from aisecops_server.entrypoints.grpc import access, status
from aisecops_server.entrypoints.grpc.caller import Caller, SessionHandler, StreamHandler, UnaryHandler
from aisecops_server.entrypoints.grpc.reads import Tell, told, told_stream
from aisecops_server.entrypoints.grpc.tls import peer_of, presented_by
from aisecops_server.ports import Authenticator
from aisecops_server.ports.log_trace import begin_trace

Context = grpc.aio.ServicerContext[bytes, bytes]
_M = TypeVar("_M", bound=Message)
_DISCARD_SECONDS = 0.05


class Patience(Enum):
    """How long a call may take when its caller does not say: (default, at most), in seconds."""

    DECISION = (2.0, 10.0)
    BATCH = (10.0, 30.0)
    WORK = (30.0, 120.0)


@dataclass(frozen=True, slots=True)
class Gate:
    """Wraps handlers into gRPC methods. ``note`` is told of who is turned away, ``tell`` of who reads, if there is one.

    It is the gate of one tenant and lets nobody in whose credential is of another.

    ``unaries`` and ``streams`` are the very handlers that it wrapped, by call, for who calls within the process;
    ``checks`` are what lets a call in before its request is read.
    """

    authenticator: Authenticator
    note: Callable[[Refusal], None]
    tenant: str = DEFAULT_TENANT
    tell: Tell | None = None
    unaries: dict[str, tuple[UnaryHandler, Patience]] = field(default_factory=dict, repr=False)
    streams: dict[str, StreamHandler] = field(default_factory=dict, repr=False)
    checks: dict[str, Callable[[Caller], None]] = field(default_factory=dict, repr=False)

    def unary(self, call: str, handler: UnaryHandler, patience: Patience) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a method with one request and one answer."""
        handler = told(call, handler, self.tell)
        self.unaries[call] = handler, patience

        async def method(request: bytes, context: Context) -> bytes:
            try:
                caller = self._caller(call, context, patience)
                async with asyncio.timeout(caller.seconds):
                    return (await handler(request, caller)).SerializeToString()
            except Exception as error:  # noqa: BLE001 - the last line: every error becomes a status here
                return await status.abort(context, status.as_known(error))

        return grpc.unary_unary_rpc_method_handler(method)

    def queued(
        self, call: str, handler: UnaryHandler, patience: Patience, check: Callable[[Caller], None]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a method with one request and one answer, whose request is read only when ``check`` lets it in.

        To the library it is one with many requests, because it reads the only one of others before it calls.
        """
        handler = told(call, handler, self.tell)
        self.unaries[call] = handler, patience
        self.checks[call] = check

        async def method(requests: AsyncIterator[bytes], context: Context) -> bytes:
            try:
                caller = self._caller(call, context, patience)
                check(caller)
                async with asyncio.timeout(caller.seconds):
                    return (await handler(await _only(requests), caller)).SerializeToString()
            except Exception as error:  # noqa: BLE001 - the last line: every error becomes a status here
                return await status.abort(context, status.as_known(error))

        return grpc.stream_unary_rpc_method_handler(method)

    def stream(self, call: str, handler: StreamHandler) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a method with one request and many answers; it lasts as long as its caller wants."""
        handler = told_stream(call, handler, self.tell)
        self.streams[call] = handler

        async def method(request: bytes, context: Context) -> AsyncIterator[bytes]:
            try:
                async for answer in handler(request, self._caller(call, context, Patience.WORK)):
                    yield answer.SerializeToString()
            except Exception as error:  # noqa: BLE001 - the last line: every error becomes a status here
                await status.abort(context, status.as_known(error))

        return grpc.unary_stream_rpc_method_handler(method)

    def session(self, call: str, handler: SessionHandler) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a method with many requests and many answers; ``caller.seconds`` bounds each of them."""

        async def method(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            try:
                caller = self._caller(call, context, Patience.DECISION)
                caller = replace(caller, seconds=Patience.DECISION.value[1])
                async for answer in handler(requests, caller):
                    yield answer.SerializeToString()
            except Exception as error:  # noqa: BLE001 - the last line: every error becomes a status here
                await discard(requests)
                await status.abort(context, status.as_known(error))

        return grpc.stream_stream_rpc_method_handler(method)

    def still(self, caller: Caller) -> None:
        """Check again, in a call that lasts, that it is the same caller and may still make it.

        Raises:
            UnauthenticatedError: its credential expired, was withdrawn, or proves somebody else by now.
            NotPermittedError: it lost the role.
        """
        with noting(self.note, caller.call, caller.peer):
            principal = self._let_in(caller.presented, caller.call)
            if principal.id != caller.principal.id:
                raise UnauthenticatedError("the credential proves somebody else by now", hint="Open the stream again")

    def enter(self, call: str, presented: Presented, peer: str, patience: Patience) -> Caller:
        """Let somebody in who calls within the process, by the same credentials and roles as over the wire.

        Raises:
            UnauthenticatedError: what is presented proves nobody.
            NotPermittedError: the roles do not include the call.
            NotFoundError: the credential is of another tenant.
        """
        return self.admit(call, lambda: presented, peer, patience)

    def admit(
        self,
        call: str,
        present: Callable[[], Presented],
        peer: str,
        patience: Patience,
        *,
        seconds: float | None = None,
        parent: TraceParent = NOWHERE,
    ) -> Caller:
        """Let somebody in whose credential is still to be read; ``seconds`` is the time that the caller gives.

        Raises:
            UnauthenticatedError: what is presented is not one credential, or proves nobody.
            NotPermittedError: the roles do not include the call.
            NotFoundError: the credential is of another tenant.
        """
        with noting(self.note, call, peer):
            presented = present()
            principal = self._let_in(presented, call)
        default, at_most = patience.value
        given = default if seconds is None else max(0.0, min(seconds, at_most))
        return Caller(principal, presented, given, call, peer, parent, self.tenant)

    def _caller(self, call: str, context: Context, patience: Patience) -> Caller:
        # Without a deadline gRPC gives None, and far-off ones are clamped alike.
        asked, parent = context.time_remaining(), _parent_of(context)
        caller = self.admit(
            call, lambda: presented_by(context), peer_of(context), patience, seconds=asked, parent=parent
        )
        begin_trace(parent.trace_id)
        return caller

    def _let_in(self, presented: Presented, call: str) -> Principal:
        principal = self.authenticator.authenticate(presented)
        if tenant_for(principal, presented.tenant) != self.tenant:
            raise no_such_tenant(principal)
        access.require(principal, call)
        return principal


@contextlib.contextmanager
def noting(note: Callable[[Refusal], None], call: str, peer: str) -> Iterator[None]:
    """Tell ``note`` of whoever is turned away in the block."""
    try:
        yield
    except (UnauthenticatedError, NotPermittedError, NotFoundError) as error:
        said = error.metadata()
        note(
            Refusal(
                error.reason,
                said.get("why", ""),
                call,
                peer,
                principal=said.get("principal", said.get("certificate", "")),
                claimed=said.get("token", ""),
            )
        )
        raise


def read_message(kind: type[_M], data: bytes) -> _M:
    """Return the protobuf message in ``data``.

    Raises:
        InvalidRequestError: the bytes are not one.
    """
    try:
        return kind.FromString(data)
    except (DecodeError, RecursionError) as error:
        raise InvalidRequestError(
            f"the request is not a {kind.DESCRIPTOR.name} message",
            hint="Send protobuf as proto/aisecops/v1 describes it",
            field="request",
        ) from error


def _parent_of(context: Context) -> TraceParent:
    values = [value for key, value in context.invocation_metadata() or () if key == HEADER]
    return read_trace_parent(str(values[0])) if len(values) == 1 else NOWHERE


async def _only(requests: AsyncIterator[bytes]) -> bytes:
    async for request in requests:
        return request
    raise InvalidRequestError("there is no request", hint="Send one message", field="request")


async def discard(requests: AsyncIterator[bytes]) -> None:
    """Read what is still on its way: a caller in the middle of a write would see that fail, and not our status."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for _ in requests:
                continue
