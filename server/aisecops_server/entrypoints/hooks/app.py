"""``POST /hooks/git`` for a Git host, through a proxy on this machine: what is genuine has the repository read now.

Where there are tenants each has an address of its own, ``/hooks/git/NAME``, with its own secret. One that is not there
is answered as a wrong secret is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.push_notice import PushNotices
from aisecops_server.domain.refusal import Refusal

PATH = "/hooks/git"
# What hosts send at most is larger; a push that needs more is found by polling.
MOST_BYTES = 4 * 1024 * 1024
_UNIX = "unix:"
_STATUS_OF = {"signature": 401, "replayed": 409, "size": 413}


@dataclass(frozen=True, slots=True)
class Bell:
    """Has one repository read: what ``notices`` finds genuine calls ``ring``, and ``note`` is told of the rest."""

    notices: PushNotices
    ring: Callable[[], None]
    note: Callable[[Refusal], None]


@contextlib.asynccontextmanager
async def listening(bells: Mapping[str, Bell], note: Callable[[Refusal], None], address: str) -> AsyncIterator[str]:
    """Wait for deliveries to ``bells``, by tenant; the empty name is that of ``/hooks/git`` alone.

    ``note`` is told of deliveries to nobody. Serves on ``host:port`` of this machine or ``unix:PATH`` while the block
    runs; gives the address.

    Raises:
        InvalidRequestError: the address is not of this machine, or cannot be listened on.
    """
    runner = web.AppRunner(_application(bells, note), access_log=None)
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
            f"cannot wait for Git hosts on {address}",
            hint="Give a free port of 127.0.0.1 or [::1], or unix:PATH, and put your proxy with TLS before it",
            field="trigger_address",
        ) from error
    return f"{host}:{runner.addresses[0][1]}"


def _require_loopback(host: str) -> None:
    """Check that only this machine reaches it.

    Raises:
        ValueError: it is no loopback address.
    """
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(host)


def _application(bells: Mapping[str, Bell], note: Callable[[Refusal], None]) -> web.Application:
    async def pushed(request: web.Request) -> web.Response:
        bell = bells.get(request.match_info.get("tenant", ""))

        def refused(why: str) -> web.Response:
            (bell.note if bell else note)(Refusal("UNAUTHENTICATED", why, PATH, request.remote or ""))
            return web.Response(status=_STATUS_OF[why], text=f"{why}\n")

        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return refused("size")
        if bell is None:
            return refused("signature")
        headers = {name.lower(): value for name, value in request.headers.items()}
        if why := bell.notices.refusal(headers, body):
            return refused(why)
        bell.ring()
        return web.Response(status=202, text="the repository is read now\n")

    made = web.Application(client_max_size=MOST_BYTES)
    made.router.add_post(PATH, pushed)
    made.router.add_post(PATH + "/{tenant}", pushed)
    return made
