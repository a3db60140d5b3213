"""Puts small HTTP services where this machine alone reaches them: on a loopback address, or on a Unix socket.

A socket is its owner's (mode 0600) from the first moment. What an ended process left in its place is taken over; a file
that is no socket is not touched, nor a socket at which somebody listens.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from aisecops_server.domain.errors import InvalidRequestError

_UNIX = "unix:"
_PROBE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Purpose:
    """What is served (as in "cannot …"), by which setting, and what to do where that cannot be."""

    what: str
    field: str
    hint: str


@contextlib.asynccontextmanager
async def serving(
    application: web.Application, address: str, purpose: Purpose, *, as_sent: bool = False
) -> AsyncIterator[str]:
    """Serve on ``host:port`` of this machine or ``unix:PATH`` while the block runs; gives the address.

    Bodies that come ``as_sent`` are not unpacked, whatever they say of themselves.

    Raises:
        InvalidRequestError: the address is not of this machine, or cannot be listened on.
    """
    runner = web.AppRunner(application, access_log=None, handle_signals=False, auto_decompress=not as_sent)
    await runner.setup()
    try:
        with _removed_after(await _start(runner, address, purpose)) as served:
            yield served
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def _removed_after(address: str) -> Iterator[str]:
    try:
        yield address
    finally:
        if address.startswith(_UNIX):
            Path(address.removeprefix(_UNIX)).unlink(missing_ok=True)


async def _start(runner: web.AppRunner, address: str, purpose: Purpose) -> str:
    try:
        if address.startswith(_UNIX):
            await web.SockSite(runner, own_socket(Path(address.removeprefix(_UNIX)))).start()
            return address
        host, _, port = address.rpartition(":")
        _require_loopback(host.strip("[]"))
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    except (OSError, ValueError, OverflowError) as error:
        why = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise InvalidRequestError(
            f"cannot {purpose.what} on {address}{why}", hint=purpose.hint, field=purpose.field
        ) from error
    return f"{host}:{runner.addresses[0][1]}"


def own_socket(path: Path) -> socket.socket:
    """Return a socket that listens at ``path`` for its owner alone.

    Raises:
        OSError: there is something else, or somebody listens there, or it cannot be made.
    """
    _require_vacant(path)
    made = socket.socket(socket.AF_UNIX)
    # It must never exist with wider rights, not even for a moment.
    earlier = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        made.bind(os.fspath(path))
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(earlier)
    return made


def _require_vacant(path: Path) -> None:
    if not path.is_symlink() and not path.exists():
        return
    if path.is_symlink() or not path.is_socket():
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return
    raise OSError(errno.EADDRINUSE, "somebody listens there")


def _require_loopback(host: str) -> None:
    """Check that only this machine reaches it; a name could lead elsewhere tomorrow.

    Raises:
        ValueError: it is no loopback address.
    """
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(host)
