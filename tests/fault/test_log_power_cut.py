"""Power fails at any moment: what was acknowledged is there. With weaker synchronisation the same test finds losses."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.log.record import Receipt

from tests.fault.disks import Step, after_power_cut, faulty_disk
from tests.fault.rounds import rounds
from tests.scenes.log.records import Records

CUTS = rounds(120, of_many=1_000)


@dataclass(frozen=True)
class Recording:
    """What a log did to its disk, and after how many steps each decision was acknowledged."""

    steps: list[Step]
    acknowledged: list[tuple[int, str, Receipt]]


async def recorded(folder: Path, synchronous: str) -> Recording:
    make, chance = Records(), random.Random(1)
    acknowledged: list[tuple[int, str, Receipt]] = []
    with faulty_disk() as (vfs, faults):
        log = open_log(folder / "audit.db", LogOptions(minimum_free_bytes=0, vfs=vfs))
        connection = log._writer._connection
        connection.pragma("synchronous", synchronous)
        # Small enough that the run has many checkpoints, and cuts fall into them too.
        connection.wal_autocheckpoint(40)
        for _ in range(60):
            group = [make.record() for _ in range(chance.randint(1, 8))]
            receipts = await asyncio.gather(*map(log.append, group))
            position = len(faults.steps)
            acknowledged += [
                (position, record.decision.id, receipt) for record, receipt in zip(group, receipts, strict=True)
            ]
        steps = list(faults.steps)
        await log.close()
    return Recording(steps, acknowledged)


async def lost_after(recording: Recording, seed: int, folder: Path) -> int:
    # The first acknowledgement is where there begins to be something to lose.
    cut = random.Random(seed).randint(recording.acknowledged[0][0], len(recording.steps))
    after_power_cut(recording.steps, cut, seed, folder)
    log = open_log(folder / "audit.db", LogOptions(minimum_free_bytes=0))
    try:
        assert log.sealed == "", f"seed {seed}, cut {cut}"
        report = await log.verify()
        assert report.ok, f"seed {seed}, cut {cut}: {report.problem}"
        lost = 0
        for position, decision_id, receipt in recording.acknowledged:
            if position > cut:
                break
            try:
                lost += (await log.decision(decision_id)).receipt != receipt
            except AisecopsError:
                lost += 1
        return lost
    finally:
        await log.close()


@pytest.mark.asyncio
async def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    recording = await recorded(tmp_path, "full")
    assert {step.file for step in recording.steps if step.kind == "sync"} >= {"audit.db", "audit.db-wal"}
    lost = {seed: await lost_after(recording, seed, tmp_path / str(seed)) for seed in range(CUTS)}
    assert {seed: count for seed, count in lost.items() if count} == {}


@pytest.mark.asyncio
async def test_the_same_cuts_lose_decisions_when_commits_are_not_synchronised(tmp_path: Path) -> None:
    recording = await recorded(tmp_path, "normal")
    lost = [await lost_after(recording, seed, tmp_path / str(seed)) for seed in range(30)]
    assert sum(lost) > 0
