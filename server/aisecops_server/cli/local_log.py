"""The audit log of this machine's state directory, opened for reading only, beside a running control plane or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from aisecops_server.domain.errors import NotFoundError

if TYPE_CHECKING:
    from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
    from aisecops_server.domain.record import LogHead, LogReport
    from aisecops_server.settings import Settings


def log_head(settings: Settings) -> LogHead:
    """Return the log's size and Merkle root.

    Raises:
        NotFoundError: there is no log yet.
    """

    async def head() -> LogHead:
        log = _opened(settings)
        try:
            return await log.head()
        finally:
            await log.close()

    return asyncio.run(head())


def log_size(settings: Settings) -> int:
    """Return the number of leaves, 0 when there is no log yet."""
    try:
        return log_head(settings).size
    except NotFoundError:
        return 0


def verified(settings: Settings, progress: Callable[[int, int], None]) -> LogReport:
    """Recompute every leaf and the root.

    Raises:
        NotFoundError: there is no log yet.
    """

    async def verify() -> LogReport:
        log = _opened(settings)
        try:
            return await log.verify(progress)
        finally:
            await log.close()

    return asyncio.run(verify())


def _opened(settings: Settings) -> SqliteEventLog:
    from aisecops_server.adapters.sqlite.event_log import open_log_read_only  # noqa: PLC0415

    path = settings.log_path
    if not path.exists():
        raise NotFoundError(
            f"there is no audit log at {path}",
            hint="Name the control plane's state directory with --state-dir; a log begins with the first decision",
        )
    return open_log_read_only(path)
