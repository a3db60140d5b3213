"""Puts the services on listeners: a Unix socket for this machine, and TCP where it is asked for.

A Unix socket (mode 0600) and loopback addresses are for this machine, and reflection is answered there. Whoever
listens elsewhere needs TLS; without it other addresses are refused. Every call is authenticated on every listener.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from aisecops_server.domain.callers.identity import DEFAULT_TENANT
from aisecops_server.domain.callers.refusal import Refusal
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.grpc.doors import Doors, Table
from aisecops_server.entrypoints.grpc.health_service import SERVICE as HEALTH_SERVICE
from aisecops_server.entrypoints.grpc.health_service import HealthService
from aisecops_server.entrypoints.grpc.local_calls import LocalCalls
from aisecops_server.entrypoints.grpc.methods import Gate
from aisecops_server.entrypoints.grpc.services import Served, methods
from aisecops_server.entrypoints.grpc.tls import server_credentials
from aisecops_server.ports import Authenticator, TlsSource

# Plans may be 4 MiB; the rest is for what wraps them.
MAX_REQUEST_BYTES = 4 * 1024 * 1024 + 64 * 1024
# Answers carry documents and traces.
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
_SOCKET_PATH_BYTES = 107
_IDENTITY_ONLY = 1

_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.max_concurrent_streams", 128),
    ("grpc.so_reuseport", 0),
    # A compressed request could be a bomb; nothing here is large enough to need it.
    ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 3),
    # Calls that the library has read and the interpreter has not taken yet. Beyond the first number more and more of
    # them are cancelled, beyond the second all: what is cancelled soon can be asked again, what waits long cannot.
    # They count by line: each method that waits for a turn has one, all others share one.
    ("grpc.server.max_pending_requests", 256),
    ("grpc.server.max_pending_requests_hard_limit", 512),
)
_TCP_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_connection_age_ms", 300_000),
    # Sessions and followed event streams outlive the connection's age.
    ("grpc.max_connection_age_grace_ms", 3_600_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


@dataclass(frozen=True, slots=True)
class TcpListening:
    """A TCP listener: ``host:port``, with port 0 for any, over TLS or not; not is for loopback only."""

    address: str
    tls: TlsSource | None = None


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen."""

    socket: Path | None
    tcp: tuple[TcpListening, ...] = ()


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers, over the wire and, by ``calls``, within the process.

    ``ports`` are those of its TCP listeners, in their order.
    """

    servers: tuple[grpc.aio.Server, ...]
    socket: Path | None
    calls: LocalCalls
    ports: tuple[int, ...] = ()

    async def stop(self, grace_seconds: float) -> None:
        """Stop taking calls, let those under way end within the grace, and remove the socket."""
        await asyncio.gather(*(server.stop(grace_seconds) for server in self.servers))
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)


async def serve(served: Served, listening: Listening) -> RunningServer:
    """Start to serve one tenant, which everybody is of, and return.

    Raises:
        InvalidRequestError: there is nothing to listen on, or it may not or cannot be listened on.
    """
    return await serve_tenants({DEFAULT_TENANT: served}, listening, served.authenticator, served.note_refusal)


async def serve_tenants(
    served: Mapping[str, Served],
    listening: Listening,
    authenticator: Authenticator,
    note_refusal: Callable[[Refusal], None],
) -> RunningServer:
    """Start to serve tenants by their names, and return; ``note_refusal`` is told of who is let to none of them.

    Raises:
        InvalidRequestError: there is nothing to listen on, or it may not or cannot be listened on.
    """
    if listening.socket is None and not listening.tcp:
        raise InvalidRequestError("there is nothing to listen on", hint="Set a socket or an address", field="listen")
    # Made once, so that what is in flight is counted over all listeners.
    gates = {tenant: Gate(authenticator, own.note_refusal, tenant, own.tell_reading) for tenant, own in served.items()}
    doors = Doors(authenticator, note_refusal, gates)
    tables = {tenant: methods(own, gates[tenant]) for tenant, own in served.items()}
    names = next(iter(served.values())).service_names
    health = HealthService(lambda: readiness(served.values()), frozenset(names))
    table = doors.table(tables)
    answering = _Answering(
        (
            *(grpc.method_handlers_generic_handler(service, dict(own)) for service, own in table.items()),
            health.handler(),
        ),
        {service: _waiting(service, own, next(iter(gates.values()))) for service, own in table.items()},
    )
    servers: list[grpc.aio.Server] = []
    ports = []
    for tcp in listening.tcp:
        server = _server(answering, (*_OPTIONS, *_TCP_OPTIONS), () if tcp.tls else names)
        ports.append(_bind_tcp(server, tcp))
        servers.append(server)
    if listening.socket is not None:
        server = _server(answering, _OPTIONS, names)
        _bind_socket(server, listening.socket)
        servers.append(server)
    for server in servers:
        await server.start()
    return RunningServer(tuple(servers), listening.socket, LocalCalls(doors), tuple(ports))


def readiness(served: Iterable[Served]) -> str:
    """Return why no plan of any tenant can be decided; empty while those of one can."""
    problems = [own.readiness() for own in served]
    return "" if "" in problems else "; ".join(problems)


@dataclass(frozen=True, slots=True)
class _Answering:
    """What answers: ``all`` methods, and by service and name ``apart`` those that the library lines up by themselves.

    What is not taken yet waits in the library in one line of a bounded length, from whose end it cancels. With a line
    of its own, a flood of decisions keeps neither health checks waiting nor whoever mends its cause, and cancels none.
    """

    all: Sequence[grpc.GenericRpcHandler]
    apart: Table


def _waiting(service: str, methods: Mapping[str, grpc.RpcMethodHandler[Any, Any]], gate: Gate) -> dict[str, Any]:
    """Return those of the methods that wait for a turn: what is asked by the thousand."""
    return {name: method for name, method in methods.items() if f"/{service}/{name}" in gate.checks}


def _server(answering: _Answering, options: Iterable[tuple[str, Any]], names: Sequence[str]) -> grpc.aio.Server:
    server = grpc.aio.server(options=list(options))
    server.add_generic_rpc_handlers(tuple(answering.all))
    for service, own in answering.apart.items():
        server.add_registered_method_handlers(service, dict(own))
    if names:
        reflection.enable_server_reflection((*names, HEALTH_SERVICE, reflection.SERVICE_NAME), server)
    return server


def _bind_socket(server: grpc.aio.Server, path: Path) -> None:
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise InvalidRequestError(
            f"the socket path {path} is longer than {_SOCKET_PATH_BYTES} bytes",
            hint="Set listen_socket to a shorter path",
            field="listen_socket",
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_own(path.parent)
        _remove_stale(path)
        # The socket must never exist with wider rights, not even for a moment.
        earlier = os.umask(0o177)
        try:
            server.add_insecure_port(f"unix:{path}")
        finally:
            os.umask(earlier)
        path.chmod(0o600)
    except (OSError, RuntimeError) as error:
        raise InvalidRequestError(
            f"cannot listen on {path}", hint="Check the directory's rights", field="listen_socket"
        ) from error


def _require_own(directory: Path) -> None:
    """Refuse a directory in which somebody else could put a socket of that name first."""
    found = directory.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidRequestError(
            f"others may write in {directory}",
            hint="Set listen_socket to a path in a directory of your own",
            field="listen_socket",
        )


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise InvalidRequestError(
        f"another control plane listens on {path}", hint="Stop it, or set another listen_socket", field="listen_socket"
    )


def _bind_tcp(server: grpc.aio.Server, listening: TcpListening) -> int:
    address = listening.address
    if not _is_host_and_port(address):
        raise InvalidRequestError(f"{address} is not host:port", hint="Such as 127.0.0.1:8443", field="listen_address")
    if listening.tls is None and not is_loopback(address):
        raise InvalidRequestError(
            f"{address} is not a loopback address, and who calls from elsewhere is authenticated over TLS only",
            hint="Set tls_certificate, tls_key, tls_client_ca and trust_domain ('aisecops dev ca DIR' makes them for a"
            " trial), or listen on 127.0.0.1 or the Unix socket",
            field="listen_address",
        )
    credentials = server_credentials(listening.tls) if listening.tls else None
    try:
        if credentials is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, credentials))
    except (OSError, RuntimeError) as error:
        raise InvalidRequestError(
            f"cannot listen on {address}", hint="Take another port", field="listen_address"
        ) from error


def _is_host_and_port(address: str) -> bool:
    # Everything else that gRPC understands (unix:, vsock:, …) is another kind of listener.
    host, _, port = address.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and (":" not in host or host.startswith("["))


def is_loopback(address: str) -> bool:
    """Return whether ``host:port`` is of this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name could resolve to anything, so only the address itself counts.
        return False
