"""``GET /metrics`` for a monitoring system on the same machine. It asks nobody who they are, so it goes no further."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from aisecops_server.domain.errors import AisecopsError
from aisecops_server.entrypoints.local_http.listener import Purpose, serving

_PURPOSE = Purpose("serve metrics", "metrics_address", "Give a free port of 127.0.0.1 or [::1], or unix:PATH")
Render = Callable[[], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def listening(render: Render, content_type: str, address: str) -> AsyncIterator[str]:
    """Serve on ``host:port`` of this machine or ``unix:PATH`` while the block runs; gives the address.

    Raises:
        InvalidRequestError: the address is not of this machine, or cannot be listened on.
    """
    async with serving(_application(render, content_type), address, _PURPOSE) as served:
        yield served


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
