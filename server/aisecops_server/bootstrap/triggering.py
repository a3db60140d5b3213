"""The composition of what a Git host may call."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.identity.secret_file import secret_in
from aisecops_server.domain.bundles.push_notice import PushNotices
from aisecops_server.domain.callers.refusal import Refusal
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.hooks.app import Bell, listening
from aisecops_server.settings import Settings

_LEAST = 16


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
        return secret_in(file, least=_LEAST)
    except ValueError as error:
        raise _unusable(str(error)) from error


def _unusable(why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the secret of Git hosts cannot be used: {why}",
        hint="Write one that nobody can guess into a file of mode 600, and give the same to the Git host",
        field="trigger_secret_file",
    )
