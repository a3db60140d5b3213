"""The disk fills up or breaks: nobody gets an answer that is not stored, and the log stays sealed until a restart."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.domain.errors import LogUnavailableError, SealedError
from aisecops_server.domain.log.record import Receipt

from tests.fault.disks import faulty_disk
from tests.scenes.log.records import Records, require_readable

OPTIONS = LogOptions(minimum_free_bytes=0)
MEGABYTE = 1024 * 1024


async def filled(log: SqliteEventLog, make: Records) -> list[tuple[str, Receipt]]:
    """Append until the log refuses; return what it acknowledged."""
    acknowledged: list[tuple[str, Receipt]] = []
    for _ in range(2000):
        group = [make.record(document=os.urandom(40_000)) for _ in range(4)]
        answers = await asyncio.gather(*map(log.append, group), return_exceptions=True)
        for record, answer in zip(group, answers, strict=True):
            if isinstance(answer, Receipt):
                acknowledged.append((record.decision.id, answer))
            else:
                assert isinstance(answer, LogUnavailableError)
        if log.sealed:
            return acknowledged
    raise AssertionError("the disk never filled up")


@pytest.mark.asyncio
async def test_a_full_disk_seals_the_log_and_takes_nothing_back(tmp_path: Path) -> None:
    make = Records()
    with faulty_disk() as (vfs, faults):
        log = open_log(tmp_path / "audit.db", LogOptions(minimum_free_bytes=0, vfs=vfs))
        faults.room = 4 * MEGABYTE
        acknowledged = await filled(log, make)
        assert len(acknowledged) > 20
        assert "FullError" in log.sealed
        # There is room again, and a small write would succeed: the log must not flap.
        faults.room = None
        with pytest.raises(SealedError) as caught:
            await log.append_event(make.control_event())
        assert "restart" in caught.value.hint
        assert [type(answer) for answer in await log.append_many([make.record()])] == [SealedError]
        await require_readable(log, acknowledged)
        await log.close()
    again = open_log(tmp_path / "audit.db", OPTIONS)
    assert again.sealed == ""
    await again.append(make.record())
    await require_readable(again, acknowledged)
    await again.close()


@pytest.mark.asyncio
async def test_a_failed_synchronisation_seals_the_log_for_the_whole_group(tmp_path: Path) -> None:
    make = Records()
    with faulty_disk() as (vfs, faults):
        log = open_log(tmp_path / "audit.db", LogOptions(minimum_free_bytes=0, vfs=vfs))
        before = [make.record() for _ in range(20)]
        acknowledged = [(record.decision.id, await log.append(record)) for record in before]
        faults.fail_sync = True
        answers = await asyncio.gather(*(log.append(make.record()) for _ in range(30)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {SealedError}
        faults.fail_sync = False
        synchronised = len(faults.steps)
        with pytest.raises(SealedError, match="IOError"):
            await log.append(make.record())
        assert len(faults.steps) == synchronised, "something was written after the failure"
        await require_readable(log, acknowledged)
        await log.close()
    again = open_log(tmp_path / "audit.db", OPTIONS)
    assert again.sealed == ""
    await require_readable(again, acknowledged)
    await again.close()


@pytest.mark.asyncio
async def test_a_disk_with_too_little_room_opens_the_log_sealed(tmp_path: Path) -> None:
    make = Records()
    log = open_log(tmp_path / "audit.db", OPTIONS)
    acknowledged = [((record := make.record()).decision.id, await log.append(record))]
    await log.close()
    log = open_log(tmp_path / "audit.db", LogOptions(minimum_free_bytes=1 << 60))
    assert "MB are free" in log.sealed
    with pytest.raises(SealedError, match="MB are needed"):
        await log.append(make.record())
    await require_readable(log, acknowledged)
    await log.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.asyncio
async def test_a_real_full_file_system_seals_the_log(small_disk: Path) -> None:
    make = Records()
    log = open_log(small_disk / "audit.db", OPTIONS)
    acknowledged = await filled(log, make)
    assert len(acknowledged) > 20
    with pytest.raises(SealedError):
        await log.append_event(make.control_event())
    await require_readable(log, acknowledged)
    await log.close()
    sealed = open_log(small_disk / "audit.db", LogOptions())
    assert "64 MB are needed" in sealed.sealed
    await require_readable(sealed, acknowledged)
    await sealed.close()
