"""Puts the UI on a TCP listener: of this machine over plain HTTP, beyond it over TLS only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.grpc.server import is_loopback

_BACKLOG = 128
_GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class WebListening:
    """Where the UI listens. ``fallback`` takes any free port when the wished one is taken."""

    address: str
    certificate: Path | None = None
    key: Path | None = None
    fallback: bool = False

    @property
    def secure(self) -> bool:
        """Return whether it speaks TLS."""
        return self.certificate is not None


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, where: WebListening) -> AsyncIterator[str]:
    """Serve ``app`` while the block runs; gives the address that it has, as ``host:port``.

    Raises:
        InvalidRequestError: the address may not or cannot be listened on.
    """
    bound = _bound(where)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        proxy_headers=False,
        ssl_certfile=str(where.certificate) if where.certificate else None,
        ssl_keyfile=str(where.key) if where.key else None,
    )
    server = _Quiet(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]), name="serve the UI")
    host, port = bound.getsockname()[:2]
    try:
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    finally:
        server.should_exit = True
        await serving


class _Quiet(uvicorn.Server):
    """A server inside a process that handles its signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield


def _bound(where: WebListening) -> socket.socket:
    host, _, port = where.address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        raise InvalidRequestError(
            f"{where.address} is not host:port", hint="Such as 127.0.0.1:8470", field="ui_address"
        )
    if not where.secure and not is_loopback(where.address):
        raise InvalidRequestError(
            f"{where.address} is not a loopback address, and the UI is served beyond this machine over TLS only",
            hint="Set tls_certificate and tls_key, or listen on 127.0.0.1",
            field="ui_address",
        )
    name = host.strip("[]")
    try:
        return _listen(name, int(port))
    except OSError as error:
        if where.fallback:
            return _listen(name, 0)
        raise InvalidRequestError(
            f"cannot listen on {where.address}", hint="Take another port with ui_address", field="ui_address"
        ) from error


def _listen(host: str, port: int) -> socket.socket:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only where the protocol is named does asyncio send small parts at once, and not 40 ms later.
    made = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
