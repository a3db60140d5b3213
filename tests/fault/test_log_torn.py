"""The last record is torn: the file ends in it, or its end is garbage. What was acknowledged before is whole."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.log.record import Receipt

from tests.fault.rounds import rounds
from tests.scenes.log.records import Records

OPTIONS = LogOptions(minimum_free_bytes=0)
DECISIONS = 12
TEARS = rounds(40, of_many=2_000)


@dataclass(frozen=True)
class Original:
    """A log as it lies on disk while it is open, and how long its journal was when each decision was acknowledged."""

    folder: Path
    acknowledged: list[tuple[int, str, Receipt]]

    @property
    def journal(self) -> bytes:
        return (self.folder / "audit.db-wal").read_bytes()


@pytest_asyncio.fixture
async def original(tmp_path: Path) -> Original:
    live, folder, make = tmp_path / "live", tmp_path / "original", Records()
    live.mkdir()
    folder.mkdir()
    log = open_log(live / "audit.db", OPTIONS)
    acknowledged = []
    for _ in range(DECISIONS):
        record = make.record()
        receipt = await log.append(record)
        acknowledged.append(((live / "audit.db-wal").stat().st_size, str(record.decision.id), receipt))
    for name in ("audit.db", "audit.db-wal"):
        shutil.copyfile(live / name, folder / name)
    await log.close()
    return Original(folder, acknowledged)


def laid_out(original: Original, journal: bytes, folder: Path) -> Path:
    folder.mkdir()
    (folder / "audit.db-wal").write_bytes(journal)
    return Path(shutil.copyfile(original.folder / "audit.db", folder / "audit.db"))


async def kept(original: Original, journal: bytes, folder: Path) -> list[bool]:
    """Return of each decision whether the log has it, byte for byte, with ``journal`` in the place of its own."""
    log = open_log(laid_out(original, journal, folder), OPTIONS)
    try:
        assert log.sealed == ""
        report = await log.verify()
        assert report.ok, report.problem
        return [await is_there(log, decision_id, receipt) for _, decision_id, receipt in original.acknowledged]
    finally:
        await log.close()


async def is_there(log: object, decision_id: str, receipt: Receipt) -> bool:
    try:
        stored = await log.decision(decision_id)  # type: ignore[attr-defined]
    except NotFoundError:
        return False
    assert stored.receipt == receipt
    return True


@pytest.mark.asyncio
async def test_whatever_the_last_record_is_torn_to_all_before_it_is_there(original: Original, tmp_path: Path) -> None:
    chance, whole = random.Random(1), original.journal
    before, end = original.acknowledged[-2][0], original.acknowledged[-1][0]
    assert before < end <= len(whole)
    for number in range(TEARS):
        cut = chance.randrange(before, end)
        garbage = chance.randbytes(end - cut) if number % 2 else b""
        found = await kept(original, whole[:cut] + garbage, tmp_path / str(number))
        assert found == [True] * (DECISIONS - 1) + [False], f"cut at {cut}, {len(garbage)} bytes of garbage"


@pytest.mark.asyncio
async def test_a_tear_further_back_loses_the_end_and_nothing_in_between(original: Original, tmp_path: Path) -> None:
    chance, whole = random.Random(2), original.journal
    for number in range(TEARS):
        cut = chance.randrange(original.acknowledged[0][0], len(whole))
        found = await kept(original, whole[:cut], tmp_path / str(number))
        assert found == [size <= cut for size, _, _ in original.acknowledged], f"cut at {cut}"


@pytest.mark.asyncio
async def test_an_untorn_log_has_everything(original: Original, tmp_path: Path) -> None:
    assert await kept(original, original.journal, tmp_path / "whole") == [True] * DECISIONS
