"""Making, verifying and restoring backups of a state directory, composed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from aisecops_server.adapters.backup import folder as files
from aisecops_server.adapters.sqlite.event_log import open_log, open_log_read_only
from aisecops_server.adapters.sqlite.online_copy import copy_database
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.log.backup import Backup, read_backup
from aisecops_server.domain.log.merkle import Frontier
from aisecops_server.domain.log.record import LogHead
from aisecops_server.ports import Clock
from aisecops_server.usecases.budgets.adjust_budget import require_reason
from aisecops_server.usecases.log.close_restored import CloseRestored, Restored

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """Who restores and why; ``kept`` is a head of the log that somebody kept elsewhere."""

    by: Principal
    reason: str
    kept: LogHead | None = None
    accepts_loss: bool = False


async def make_backup(state: Path, folder: Path, *, told: Told, clock: Clock | None = None) -> Backup:
    """Copy the state of a control plane, which may run, into a new folder.

    Raises:
        InvalidRequestError: something is in the folder already.
        LogUnavailableError: there is no log, or something cannot be read or written.
        IntegrityError: a database is damaged.
    """
    files.copy_state(state, folder, copy_database, told)
    log = open_log_read_only(folder / files.LOG)
    try:
        head, log_id = await log.head(), await log.identity()
    finally:
        await log.close()
    made = Backup(
        made_at_seconds=(clock or SystemClock()).now_ns() // 1_000_000_000,
        made_by=f"aisecops {metadata.version('aisecops')}",
        log_id=log_id,
        head=head,
        files=files.digests(folder),
    )
    files.write_manifest(folder, made.written())
    return made


async def verify_backup(folder: Path, *, told: Told, kept: LogHead | None = None) -> Backup:
    """Return what a backup holds, once every file is what was written and the log verifies up to its head.

    Raises:
        IntegrityError: it is not whole, a file is another, or the log is not the one of ``kept``.
    """
    backup = read_backup(files.read_manifest(folder))
    found = files.digests(folder)
    if strays := sorted(
        name for name in found.keys() | backup.files.keys() if found.get(name) != backup.files.get(name)
    ):
        raise _damaged(
            f"{strays[0]} is not what was backed up" + (f" (and {len(strays) - 1} more)" if strays[1:] else "")
        )
    log = open_log_read_only(folder / files.LOG)
    try:
        report = await log.verify(told)
        if not report.ok:
            raise _damaged(f"its log does not verify: {report.problem}")
        if report.recomputed != backup.head:
            raise _damaged("its log is not the one that was backed up")
        if kept is not None and kept.size <= backup.head.size:
            await _require_begin(log.events(from_index=0, follow=False, trace_id=""), kept)
    finally:
        await log.close()
    return backup


async def restore_backup(folder: Path, state: Path, order: RestoreOrder, *, told: Told) -> tuple[Backup, Restored]:
    """Verify a backup and put it where a control plane finds it; what was open in it is taken back.

    Raises:
        InvalidRequestError: there is no reason, or a state already, or the backup is known to miss entries and that is
            not accepted.
        IntegrityError: the backup is not sound; nothing was restored.
        LogUnavailableError: it cannot be written.
    """
    require_reason(order.reason)
    backup = await verify_backup(folder, told=told, kept=order.kept)
    missing = max(0, order.kept.size - backup.head.size) if order.kept else 0
    if missing and not order.accepts_loss:
        raise InvalidRequestError(
            f"the backup misses at least {missing:,} entries that were acknowledged",
            hint="Restore a newer one, or say --accept-loss: the log will say that they are missing",
            field="against",
        )
    place = files.stage(folder, state, backup.files)
    try:
        done = await _closed(place / files.LOG, backup, order, missing)
    except BaseException:
        files.discard(place)
        raise
    files.put(place, state)
    return backup, done


async def _closed(path: Path, backup: Backup, order: RestoreOrder, missing: int) -> Restored:
    """Take back what is open before anybody can serve the log."""
    log = open_log(path)
    try:
        close = CloseRestored(log, log.approvals, log.grants, SystemClock(), RandomIds())
        return await close(backup, by=order.by, reason=order.reason, missing=missing)
    finally:
        await log.close()


async def _require_begin(events: AsyncIterator[StoredEvent], kept: LogHead) -> None:
    frontier = Frontier()
    async for event in events:
        if frontier.size == kept.size:
            break
        frontier.append(event.leaf_hash)
    if LogHead(frontier.size, frontier.root()) != kept:
        raise _damaged(f"its first {kept.size:,} entries are not those of the head that was kept")


def _damaged(why: str) -> IntegrityError:
    return IntegrityError(f"the backup is not sound: {why}", hint="Use another, and keep this one as evidence")
