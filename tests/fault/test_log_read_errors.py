"""The disk cannot be read, or can only be read: nothing is acknowledged, nothing is lost, nothing is made up."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.domain.errors import AisecopsError, LogUnavailableError, SealedError
from aisecops_server.domain.log.record import Receipt

from tests.fault.disks import faulty_disk
from tests.scenes.log.records import Records, require_readable

OPTIONS = LogOptions(minimum_free_bytes=0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def make_read_only(place: Path, *, on: bool) -> None:
    subprocess.run(["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(place)], check=True)


async def appended(log: SqliteEventLog, make: Records, count: int) -> list[tuple[str, Receipt]]:
    records = [make.record() for _ in range(count)]
    receipts = await asyncio.gather(*map(log.append, records))
    return [(record.decision.id, receipt) for record, receipt in zip(records, receipts, strict=True)]


@pytest.mark.asyncio
async def test_a_disk_that_can_only_be_read_opens_no_log_and_loses_nothing(disk: Path) -> None:
    make = Records()
    log = open_log(disk / "audit.db", OPTIONS)
    acknowledged = await appended(log, make, 20)
    await log.close()
    make_read_only(disk, on=True)
    with pytest.raises((LogUnavailableError, SealedError)):
        await _opened_and_appended(disk, make)
    make_read_only(disk, on=False)
    again = open_log(disk / "audit.db", OPTIONS)
    assert again.sealed == ""
    acknowledged += await appended(again, make, 5)
    await require_readable(again, acknowledged)
    await again.close()


@pytest.mark.asyncio
async def test_the_same_steps_on_a_disk_that_can_be_written_append(disk: Path) -> None:
    make = Records()
    log = open_log(disk / "audit.db", OPTIONS)
    await appended(log, make, 20)
    await log.close()
    make_read_only(disk, on=False)
    assert isinstance(await _opened_and_appended(disk, make), Receipt)


async def _opened_and_appended(disk: Path, make: Records) -> Receipt:
    log = open_log(disk / "audit.db", OPTIONS)
    try:
        return await log.append(make.record())
    finally:
        await log.close()


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_an_error_and_never_another_answer(tmp_path: Path) -> None:
    make = Records()
    with faulty_disk() as (vfs, faults):
        log = open_log(tmp_path / "audit.db", LogOptions(minimum_free_bytes=0, vfs=vfs))
        acknowledged = await _large(log, make)
        assert await _read_well(log, acknowledged) == len(acknowledged)
        faults.fail_read = True
        # Some are still in SQLite's memory; what is given is right, and the rest is refused.
        assert await _read_well(log, acknowledged) < len(acknowledged)
        assert not await _verifies(log)
        records = [make.record() for _ in range(4)]
        answers = await asyncio.gather(*map(log.append, records), return_exceptions=True)
        assert all(isinstance(answer, Receipt | AisecopsError) for answer in answers)
        both = zip(records, answers, strict=True)
        acknowledged += [(record.decision.id, answer) for record, answer in both if isinstance(answer, Receipt)]
        faults.fail_read = False
        await log.close()
    again = open_log(tmp_path / "audit.db", OPTIONS)
    await require_readable(again, acknowledged)
    await again.close()


async def _large(log: SqliteEventLog, make: Records) -> list[tuple[str, Receipt]]:
    """Append more than SQLite keeps in memory."""
    records = [make.record(document=os.urandom(40_000)) for _ in range(200)]
    receipts = await asyncio.gather(*map(log.append, records))
    return [(record.decision.id, receipt) for record, receipt in zip(records, receipts, strict=True)]


async def _read_well(log: SqliteEventLog, acknowledged: list[tuple[str, Receipt]]) -> int:
    """Return how many can be read; each that can has the receipt that was given for it."""
    well = 0
    for decision_id, receipt in acknowledged:
        try:
            found = await log.decision(decision_id)
        except AisecopsError:
            continue
        assert found.receipt == receipt
        well += 1
    return well


async def _verifies(log: SqliteEventLog) -> bool:
    try:
        return (await log.verify()).ok
    except AisecopsError:
        return False
