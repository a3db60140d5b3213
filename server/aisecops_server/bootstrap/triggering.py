"""The composition of what a Git host may call."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.push_notice import PushNotices
from aisecops_server.domain.refusal import Refusal
from aisecops_server.entrypoints.hooks.app import Bell, listening
from aisecops_server.settings import Settings

_OTHERS = 0o077
_LEAST, _MOST = 16, 4096


@dataclass(frozen=True, slots=True)
class Rung:
    """A tenant that may be rung for, by its own settings."""

    settings: Settings
    ring: Callable[[], None]
    note: Callable[[Refusal], None]


@contextlib.asynccontextmanager
async def triggered(
    settings: Settings, tenants: Mapping[str, Rung], note: Callable[[Refusal], None]
) -> AsyncIterator[str]:
    """Wait for Git hosts while the block runs, where the settings say so; gives the address, or nothing.

    A tenant without a secret has nobody who may ring for it, unless it is the only one: then that is a mistake.

    Raises:
        InvalidRequestError: there is no secret that only its owner reads, or the address cannot be listened on.
    """
    if not settings.trigger_address:
        yield ""
        return
    bells = {
        "" if settings.tenants_file is None else name: Bell(
            PushNotices(_secret(own.settings.trigger_secret_file)), own.ring, own.note
        )
        for name, own in tenants.items()
        if own.settings.trigger_secret_file or len(tenants) == 1
    }
    async with listening(bells, note, settings.trigger_address) as address:
        yield address


def _secret(file: Path | None) -> bytes:
    if file is None:
        raise _unusable("none is set")
    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            content = stream.read(_MOST + 1).strip()
    except OSError as error:
        raise _unusable(f"{file} cannot be read") from error
    if status.st_mode & _OTHERS or not stat.S_ISREG(status.st_mode):
        raise _unusable(f"{file} can be read by others than its owner")
    if not _LEAST <= len(content) <= _MOST:
        raise _unusable(f"{file} holds no secret of at least {_LEAST} characters")
    return content


def _unusable(why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the secret of Git hosts cannot be used: {why}",
        hint="Write one that nobody can guess into a file of mode 600, and give the same to the Git host",
        field="trigger_secret_file",
    )
