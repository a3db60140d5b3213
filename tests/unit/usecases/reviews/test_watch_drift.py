"""The last report on drift is there again after a restart: it is read back from the log that it was recorded in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.adapters.sqlite.last_look import SqliteLastLook
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.domain.replays.drift import DriftReport, PolicyDrift, Reproduced
from aisecops_server.domain.replays.fidelity import Check, Fidelity
from aisecops_server.domain.replays.recorded_decision import Doubt
from aisecops_server.usecases.reviews.watch_drift import WatchDrift

from tests.scenes.log.records import Records

pytestmark = pytest.mark.asyncio

REPORT = DriftReport(
    checked_at_ns=1_790_000_000_000_000_000,
    window_seconds=604_800,
    fidelity=Fidelity((Check("dec-1", "c" * 40), Check("dec-2", "c" * 40, Doubt.NOT_REPRODUCED, "DENY"))),
    rows=(Reproduced("agent-a", "crm/read", 2, 1),),
    policies=(PolicyDrift("live", "c" * 40, compared=2, stricter=1, examples=("dec-1",)),),
)


class Found:
    """A look that found the same once and for all."""

    size = 50

    async def __call__(self, _revisions: Sequence[tuple[str, str]]) -> DriftReport:
        return REPORT


def watch_over(log: SqliteEventLog, folder: Path) -> WatchDrift:
    return WatchDrift(
        Found(),  # type: ignore[arg-type]
        list,
        record=log.append_event,
        clock=SystemClock(),
        ids=RandomIds(),
        interval_seconds=3600.0,
        log=log,
        place=SqliteLastLook(folder / "drift.db"),
    )


def log_in(folder: Path) -> SqliteEventLog:
    return open_log(folder / "audit.db", LogOptions(minimum_free_bytes=0))


async def test_a_restart_does_not_lose_the_last_report(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    await log.append(Records("before").record())
    first = watch_over(log, tmp_path)
    await first.recall()
    assert first.last is None, "nobody looked yet"
    await first.now(asked_by="auditor@corp.example")
    await log.append(Records("after").record())
    await log.close()
    log = log_in(tmp_path)
    again = watch_over(log, tmp_path)
    await again.recall()
    await log.close()
    assert again.last is not None
    assert again.last.as_json() == REPORT.as_json()


async def test_a_place_where_no_report_stands_gives_none(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    receipt = await log.append(Records("other").record())
    for index in (receipt.log_index, 10_000):
        await SqliteLastLook(tmp_path / "drift.db").save(index)
        watch = watch_over(log, tmp_path)
        await watch.recall()
        assert watch.last is None
    await log.close()


async def test_a_place_that_cannot_be_read_gives_none_and_keeps_nobody_from_looking(tmp_path: Path) -> None:
    (tmp_path / "drift.db").write_bytes(b"no database at all" * 64)
    log = log_in(tmp_path)
    watch = watch_over(log, tmp_path)
    await watch.recall()
    assert watch.last is None
    await log.close()
