"""The audit log of this machine's state directory, opened for reading only, beside a running control plane or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from aisecops_server.domain.errors import InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
    from aisecops_server.domain.approvals.notice import NoticeCounts
    from aisecops_server.domain.log.record import LogHead, LogReport
    from aisecops_server.settings import Settings


def log_head(settings: Settings) -> LogHead:
    """Return the log's size and Merkle root.

    Raises:
        NotFoundError: there is no log yet.
    """

    async def head() -> LogHead:
        log = await _opened(settings)
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


def notice_counts(settings: Settings) -> NoticeCounts:
    """Return how many messages to people wait, and how many were given up.

    Raises:
        NotFoundError: there is no log yet.
        LogUnavailableError: it cannot be read, or was written by an earlier version.
    """

    async def counts() -> NoticeCounts:
        log = await _opened(settings)
        try:
            return await log.approvals.counts()
        finally:
            await log.close()

    return asyncio.run(counts())


def verified(settings: Settings, progress: Callable[[int, int], None]) -> LogReport:
    """Recompute every leaf and the root.

    Raises:
        NotFoundError: there is no log yet.
    """

    async def verify() -> LogReport:
        log = await _opened(settings)
        try:
            return await log.verify(progress)
        finally:
            await log.close()

    return asyncio.run(verify())


def head_at(settings: Settings, size: int) -> LogHead:
    """Return the head that the log had when it held ``size`` leaves, from the leaves that ``verified`` has checked.

    Raises:
        NotFoundError: there is no log yet.
    """
    from aisecops_server.domain.log.merkle import Frontier  # noqa: PLC0415
    from aisecops_server.domain.log.record import LogHead  # noqa: PLC0415

    async def recomputed() -> LogHead:
        log = await _opened(settings)
        frontier = Frontier()
        try:
            async for event in log.events(from_index=0, follow=False, trace_id=""):
                if frontier.size == size:
                    break
                frontier.append(event.leaf_hash)
        finally:
            await log.close()
        return LogHead(frontier.size, frontier.root())

    return asyncio.run(recomputed())


def kept_head(file: Path) -> LogHead:
    """Read a head that somebody kept, as ``log head -o json`` printed it.

    Raises:
        InvalidRequestError: it is none.
    """
    from aisecops_server.domain.log.record import LogHead  # noqa: PLC0415

    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return LogHead(int(kept["size"]), bytes.fromhex(kept["root"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequestError(
            f"{file} holds no head of a log", hint="Keep what 'aisecops log head -o json' prints", field="against"
        ) from error


async def _opened(settings: Settings) -> SqliteEventLog:
    from aisecops_server.bootstrap.store import open_log_read_only  # noqa: PLC0415

    path = settings.log_path
    if not settings.database_url and not path.exists():
        raise NotFoundError(
            f"there is no audit log at {path}",
            hint="Name the control plane's state directory with --state-dir; a log begins with the first decision",
        )
    return await open_log_read_only(settings)
