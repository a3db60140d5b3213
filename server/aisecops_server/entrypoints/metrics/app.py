"""``GET /metrics`` for a monitoring system on the same machine. It asks nobody who they are, so it goes no further."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from aiohttp import web

from aisecops_server.domain.errors import AisecopsError, InvalidRequestError

_UNIX = "unix:"
Render = Callable[[], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def listening(render: Render, content_type: str, address: str) -> AsyncIterator[str]:
    """Serve on ``host:port`` of this machine or ``unix:PATH`` while the block runs; gives the address.

    Raises:
        InvalidRequestError: the address is not of this machine, or cannot be listened on.
    """
    runner = web.AppRunner(_application(render, content_type), access_log=None)
    await runner.setup()
    try:
        yield await _start(runner, address)
    finally:
        await runner.cleanup()


async def _start(runner: web.AppRunner, address: str) -> str:
    try:
        if address.startswith(_UNIX):
            path = Path(address.removeprefix(_UNIX))
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - what a process before left behind
            await web.UnixSite(runner, str(path)).start()
            os.chmod(path, 0o600)  # noqa: PTH101 - the socket's, as of every other of ours
            return address
        host, _, port = address.rpartition(":")
        _require_loopback(host.strip("[]"))
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    except (OSError, ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"cannot serve metrics on {address}",
            hint="Give a free port of 127.0.0.1 or [::1], or unix:PATH",
            field="metrics_address",
        ) from error
    return f"{host}:{runner.addresses[0][1]}"


def _require_loopback(host: str) -> None:
    """Check that only this machine reaches it; a name could lead elsewhere tomorrow.

    Raises:
        ValueError: it is no loopback address.
    """
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(host)


def _application(render: Render, content_type: str) -> web.Application:
    async def metrics(_request: web.Request) -> web.Response:
        try:
            body = await render()
        except AisecopsError as error:
            return web.Response(status=503, text=f"{error.message}\n")
        return web.Response(body=body, headers={"Content-Type": content_type})

    made = web.Application(client_max_size=1024)
    made.router.add_get("/metrics", metrics)
    return made
