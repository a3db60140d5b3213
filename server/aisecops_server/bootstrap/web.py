"""The composition root of the UI: pages over the calls of a control plane that serves.

Needs what the extra `ui` installs; without it a control plane serves its API alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aisecops_server.adapters.identity.sign_in_links import SignInLinks
from aisecops_server.adapters.identity.sign_in_provider import OpenIdProvider
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.bootstrap.authentication import provider_client
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.grpc.server import RunningServer, is_loopback
from aisecops_server.settings import Settings

if TYPE_CHECKING:
    from aisecops_server.entrypoints.web.redirects import ProviderDoor

ADDRESS_FILE = "ui.address"
_WORKERS = 4
_NEEDED = ("jinja2", "starlette", "uvicorn")


def links_of(settings: Settings) -> SignInLinks:
    """Return the one-time links into the UI of the control plane whose settings these are."""
    return SignInLinks(settings.state_dir / "run" / "ui-links", SystemClock(), RandomIds())


def missing() -> list[str]:
    """Return which packages of the UI are not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


def origin_of(settings: Settings, address: str = "") -> str:
    """Return where people open the UI: the origin that is set, that of ``address``, or of what serves or would serve.

    Raises:
        InvalidRequestError: no UI is wanted.
    """
    if settings.ui_origin:
        return settings.ui_origin.rstrip("/")
    served = address or served_at(settings) or settings.ui_address
    if not served:
        raise InvalidRequestError("ui_address is empty, so no UI is served", hint="Set it", field="ui_address")
    return f"{'http' if is_loopback(served) else 'https'}://{served}"


def served_at(settings: Settings) -> str:
    """Return the address of the UI that serves from this state directory now, or an empty string."""
    path = _address_file(settings)
    return path.read_text(encoding="ascii").strip() if path.is_file() else ""


def link(settings: Settings, token: str, *, to: str = "/", address: str = "") -> str:
    """Return a link that opens the UI once, signed in with ``token``, on the page ``to``.

    Raises:
        InvalidRequestError: no UI is wanted.
    """
    from urllib.parse import urlencode  # noqa: PLC0415

    origin = origin_of(settings, address)
    return f"{origin}/sign-in?{urlencode({'code': links_of(settings).leave(token), 'next': to})}"


@contextlib.asynccontextmanager
async def web(settings: Settings, planes: Mapping[str, ControlPlane], running: RunningServer) -> AsyncIterator[str]:
    """Serve the UI of control planes that run, by tenant: whoever signs in sees what is of theirs.

    Gives its ``host:port``, empty when none is wanted or installed.

    Raises:
        InvalidRequestError: it may not or cannot be listened on.
    """
    if not settings.ui_address or missing():
        yield ""
        return
    from aisecops_server.entrypoints.web.app import Ui, application  # noqa: PLC0415
    from aisecops_server.entrypoints.web.listener import WebListening, listening  # noqa: PLC0415
    from aisecops_server.entrypoints.web.screens import bar, screens  # noqa: PLC0415
    from aisecops_server.entrypoints.web.sessions import Sessions  # noqa: PLC0415

    beyond = not is_loopback(settings.ui_address)
    if beyond:
        _require_credentials(settings)
    where = WebListening(
        settings.ui_address,
        settings.tls_certificate if beyond else None,
        settings.tls_key if beyond else None,
        fallback="ui_address" not in settings.model_fields_set,
    )
    path = _address_file(settings)
    with _door(settings) as door:
        ui = Ui(
            calls=running.calls,
            sessions=Sessions(RandomIds()),
            take_link=links_of(settings).take,
            bar=bar({tenant: plane.problem for tenant, plane in planes.items()}),
            screens=screens(),
            hosts=_hosts(settings),
            secure=beyond or settings.ui_origin.startswith("https:"),
            door=door,
        )
        async with listening(application(ui), where) as address:
            path.write_text(address, encoding="ascii")
            try:
                yield address
            finally:
                # What listens for news would hold up the end.
                ui.sessions.end_all()
                # On a disk that can only be read it stays, and misleads nobody: nothing listens there.
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _door(settings: Settings) -> Iterator[ProviderDoor | None]:
    """Give the way in by an identity provider, where the settings name one."""
    from aisecops_server.entrypoints.web.redirects import ProviderDoor, SignIns  # noqa: PLC0415

    client = provider_client(settings)
    if client is None:
        yield None
        return
    if not settings.ui_origin and settings.ui_address.rpartition(":")[0] in ("0.0.0.0", "[::]"):  # noqa: S104
        raise InvalidRequestError(
            f"{settings.ui_address} is no address that an identity provider can send people back to",
            hint="Set ui_origin to where people open the UI",
            field="ui_origin",
        )
    clock = SystemClock()
    workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="sign-in")
    try:
        yield ProviderDoor(
            OpenIdProvider(client, clock), SignIns(RandomIds(), clock), partial(origin_of, settings), workers
        )
    finally:
        # Whoever waits for the provider does so no longer than the provider may take.
        workers.shutdown(wait=False, cancel_futures=True)


def _require_credentials(settings: Settings) -> None:
    if not (settings.tls_certificate and settings.tls_key and settings.token_keys):
        raise InvalidRequestError(
            f"{settings.ui_address} is beyond this machine, and who comes from elsewhere has no credentials",
            hint="Set tls_certificate, tls_key and token_keys (those of your identity provider), or serve the UI on"
            " 127.0.0.1",
            field="ui_address",
        )


def _hosts(settings: Settings) -> frozenset[str]:
    named = [settings.ui_origin.partition("://")[2], settings.ui_address]
    hosts = (text.rpartition(":")[0] if text.rpartition(":")[2].isdigit() else text for text in named)
    return frozenset(host.lower() for host in hosts if host)


def _address_file(settings: Settings) -> Path:
    return settings.state_dir / "run" / ADDRESS_FILE
