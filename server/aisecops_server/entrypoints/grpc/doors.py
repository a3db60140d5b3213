"""Who is let to which tenant: each has handlers of its own over parts of its own, and a call goes to its caller's.

The choice is made by the caller's credential before anything of the request is read. The gate that is chosen proves
the caller again by itself, so that handlers of one tenant never serve another, whoever calls them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from aisecops_server.domain.callers.identity import Presented
from aisecops_server.domain.callers.refusal import Refusal
from aisecops_server.domain.tenants.tenant import no_such_tenant, tenant_for
from aisecops_server.entrypoints.grpc import status
from aisecops_server.entrypoints.grpc.methods import Context, Gate, discard, noting
from aisecops_server.entrypoints.grpc.tls import peer_of, presented_by
from aisecops_server.ports import Authenticator

# The methods of each service by their names.
Table = Mapping[str, Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]]


@dataclass(frozen=True, slots=True)
class Doors:
    """The gates of all tenants by name. ``note`` is told of whoever is turned away before a gate was chosen."""

    authenticator: Authenticator
    note: Callable[[Refusal], None]
    gates: Mapping[str, Gate]

    def gate(self, presented: Presented) -> Gate:
        """Return the gate of whoever presents this.

        Raises:
            UnauthenticatedError: it proves nobody.
            NotPermittedError, InvalidRequestError: it is of no tenant, or does not say of which of several.
            NotFoundError: no tenant here is the caller's.
        """
        principal = self.authenticator.authenticate(presented)
        found = self.gates.get(tenant_for(principal, presented.tenant))
        if found is None:
            raise no_such_tenant(principal)
        return found

    def entered(self, call: str, present: Callable[[], Presented], peer: str) -> tuple[Gate, Presented]:
        """Return the gate of whoever calls, with what it presents; errors as of ``gate``, and they are noted."""
        with noting(self.note, call, peer):
            presented = present()
            return self.gate(presented), presented

    def table(self, tables: Mapping[str, Table]) -> Table:
        """Return the methods that choose among those of the tenants' ``tables``, which all have the same."""
        first = next(iter(tables.values()))
        return {
            service: {
                name: self._chosen(
                    f"/{service}/{name}", {tenant: table[service][name] for tenant, table in tables.items()}
                )
                for name in methods
            }
            for service, methods in first.items()
        }

    def _chosen(
        self, call: str, by_tenant: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        first = next(iter(by_tenant.values()))
        if [gate.note for gate in self.gates.values()] == [self.note]:
            # One gate that tells the same of whoever is turned away: to prove the caller once is enough.
            return first
        behaviours = {tenant: _behaviour(handler) for tenant, handler in by_tenant.items()}

        async def one(given: Any, context: Context) -> bytes:
            try:
                tenant = self._tenant(call, context)
            except Exception as error:  # noqa: BLE001 - the last line: every error becomes a status here
                return await status.abort(context, status.as_known(error))
            answer: bytes = await behaviours[tenant](given, context)
            return answer

        async def many(given: Any, context: Context) -> AsyncIterator[bytes]:
            try:
                tenant = self._tenant(call, context)
            except Exception as error:  # noqa: BLE001 - the last line: every error becomes a status here
                if first.request_streaming:
                    await discard(given)
                await status.abort(context, status.as_known(error))
            async for answer in behaviours[tenant](given, context):
                yield answer

        return _wrapped(first, one, many)

    def _tenant(self, call: str, context: Context) -> str:
        gate, _ = self.entered(call, lambda: presented_by(context), peer_of(context))
        return gate.tenant


def _behaviour(handler: Any) -> Callable[[Any, Context], Any]:
    found: Callable[[Any, Context], Any] = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return found


def _wrapped(kind: Any, one: Callable[..., Any], many: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    match (kind.request_streaming, kind.response_streaming):
        case (False, False):
            return grpc.unary_unary_rpc_method_handler(one)
        case (True, False):
            return grpc.stream_unary_rpc_method_handler(one)
        case (False, True):
            return grpc.unary_stream_rpc_method_handler(many)
        case _:
            return grpc.stream_stream_rpc_method_handler(many)


def only(gate: Gate) -> Doors:
    """Return the doors of a house with one tenant."""
    return Doors(gate.authenticator, gate.note, {gate.tenant: gate})
