"""``POST /hooks/git`` for a Git host, through a proxy on this machine: what is genuine has the repository read now.

Where there are tenants each has an address of its own, ``/hooks/git/NAME``, with its own secret. One that is not there
is answered as a wrong secret is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from aisecops_server.domain.bundles.push_notice import PushNotices
from aisecops_server.domain.callers.refusal import Refusal
from aisecops_server.entrypoints.local_http.listener import Purpose, serving

PATH = "/hooks/git"
# What hosts send at most is larger; a push that needs more is found by polling.
MOST_BYTES = 4 * 1024 * 1024
_PURPOSE = Purpose(
    "wait for Git hosts",
    "trigger_address",
    "Give a free port of 127.0.0.1 or [::1], or unix:PATH, and put your proxy with TLS before it",
)
# A host sends its message at once; whoever holds a connection and says nothing holds it for so long.
MOST_SECONDS = 30.0
_STATUS_OF = {"signature": 401, "replayed": 409, "size": 413, "cut": 400, "late": 408}


class _TurnedAwayError(Exception):
    """The body of a delivery is not read to its end; its one argument says in a word why."""


@dataclass(frozen=True, slots=True)
class Bell:
    """Has one repository read: what ``notices`` finds genuine calls ``ring``, and ``note`` is told of the rest."""

    notices: PushNotices
    ring: Callable[[], None]
    note: Callable[[Refusal], None]


@contextlib.asynccontextmanager
async def listening(
    bells: Mapping[str, Bell], note: Callable[[Refusal], None], address: str, *, most_seconds: float = MOST_SECONDS
) -> AsyncIterator[str]:
    """Wait for deliveries to ``bells``, by tenant; the empty name is that of ``/hooks/git`` alone.

    ``note`` is told of deliveries to nobody. Serves on ``host:port`` of this machine or ``unix:PATH`` while the block
    runs; gives the address. The whole of a delivery is to be there in ``most_seconds``.

    Raises:
        InvalidRequestError: the address is not of this machine, or cannot be listened on.
    """
    async with serving(_application(bells, note, most_seconds), address, _PURPOSE, as_sent=True) as served:
        yield served


def _application(bells: Mapping[str, Bell], note: Callable[[Refusal], None], most_seconds: float) -> web.Application:
    async def pushed(request: web.Request) -> web.Response:
        bell = bells.get(request.match_info.get("tenant", ""))

        def refused(why: str) -> web.Response:
            (bell.note if bell else note)(Refusal("UNAUTHENTICATED", why, PATH, request.remote or ""))
            return web.Response(status=_STATUS_OF[why], text=f"{why}\n")

        try:
            body = await _body(request, most_seconds)
        except _TurnedAwayError as error:
            return refused(str(error))
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


async def _body(request: web.Request, most_seconds: float) -> bytes:
    """Return what was sent, as it was sent: that is what a host signs.

    Raises:
        _TurnedAwayError: it is too long, or does not come to its end.
    """
    try:
        async with asyncio.timeout(most_seconds):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise _TurnedAwayError("size") from error
    except TimeoutError as error:
        raise _TurnedAwayError("late") from error
    except (ConnectionError, web.RequestPayloadError) as error:
        raise _TurnedAwayError("cut") from error
