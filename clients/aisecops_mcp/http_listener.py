"""Where the proxy listens for clients that speak HTTP: on this machine in the plain, beyond it over TLS only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from aisecops_mcp.http_address import is_loopback

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
# How long a client may take for the head of a request, and a connection may be there for nothing.
_HEAD_SECONDS = 15.0
_LINGER_SECONDS = 5.0
_STOP_SECONDS = 5.0
_BACKLOG, _MOST_CONNECTIONS = 128, 1024


class ListenError(ValueError):
    """Nothing is listened on there."""


def bound(address: str, *, over_tls: bool) -> socket.socket:
    """Return a socket that listens on ``host:port``; the port 0 is any that is free.

    Raises:
        ListenError: it is none, is taken, or is beyond this machine and without TLS.
    """
    host, _, port = address.rpartition(":")
    name = host.strip("[]")
    if not name or not (port.isascii() and port.isdigit() and int(port) < 65536):  # noqa: PLR2004 - of TCP
        raise ListenError(f"{address!r} is not host:port, such as 127.0.0.1:8480")
    if not over_tls and not is_loopback(name):
        raise ListenError(f"{name} is beyond this machine, so it is TLS only: give --tls-cert and --tls-key")
    kind = socket.AF_INET6 if ":" in name else socket.AF_INET
    made = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((name, int(port)))
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
    return made


def address_of(listening: socket.socket) -> str:
    """Return where a socket listens, as ``host:port``."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def certificate_of(transport: asyncio.BaseTransport | None) -> str:
    """Return the certificate that a client has shown and that was verified, as PEM; empty if there was none to show.

    Behind it are the authorities that came with it, which nobody has verified but by the certificate.
    """
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    shown = connection.getpeercert(binary_form=True) if connection is not None else None
    if not shown:
        return ""
    return "".join(map(ssl.DER_cert_to_PEM_cert, (shown, *(part for part in _chain_of(connection) if part != shown))))


def _chain_of(connection: Any) -> list[bytes]:
    if sys.version_info >= (3, 13):
        return list(connection.get_unverified_chain())
    # Before Python 3.13 it has no name of its own.
    chain = connection._sslobj.get_unverified_chain() or ()  # noqa: SLF001
    return [ssl.PEM_cert_to_DER_cert(part.public_bytes()) for part in chain]


def tls_with(certificate: Path, key: Path, authorities: Path | None = None) -> ssl.SSLContext:
    """Return what TLS is spoken with; with ``authorities``, only to clients with a certificate of one of these.

    Raises:
        ListenError: the files do not fit together or cannot be read.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"{certificate} and {key} are no certificate and its key: {error}") from error
    if authorities is not None:
        try:
            context.load_verify_locations(authorities)
        except (OSError, ssl.SSLError) as error:
            raise ListenError(f"{authorities} holds no certificates of authorities: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
        # Each authority of the file counts by itself, as it does for who is asked again whether it still does.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # A session that is taken up again has lost the chain.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


@contextlib.asynccontextmanager
async def listening(answer: Answer, at: socket.socket, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Answer requests while the block runs."""

    async def bounded(request: web.BaseRequest) -> web.StreamResponse:
        if len(server.connections) > _MOST_CONNECTIONS:
            return web.Response(status=503, headers={"Connection": "close", "Retry-After": "30"})
        return await answer(request)

    server = web.Server(
        bounded,
        handler_cancellation=True,
        keepalive_timeout=_HEAD_SECONDS,
        lingering_time=_LINGER_SECONDS,
        access_log=None,
        # What is taken is bounded as it comes; nothing is unpacked.
        auto_decompress=False,
    )
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, at, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()
