"""Drift on a real history: records that were changed, an engine that is another one, a live policy that moved on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.opa.binary import PINNED_VERSION
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.bootstrap.replay import replaying
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.log.record import Receipt
from aisecops_server.domain.replays.drift import DriftReport
from aisecops_server.usecases.replays.check_drift import CheckDrift
from aisecops_server.usecases.replays.sample_decisions import SampleDecisions
from aisecops_server.usecases.reviews.watch_drift import WatchDrift

from tests.fakes.drift import MemoryLastLook
from tests.scenes.replays.replays import Recorded, copy_of, forge, other_version, record

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

SCENARIOS = ("answer-ticket", "refund-lost-parcel", "ticket-asks-for-customers")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    recorded = asyncio.run(record(tmp_path_factory.mktemp("drift"), only=SCENARIOS))
    recorded.edit_limits()
    return recorded


@pytest.fixture
def history(made: Recorded, tmp_path: Path) -> Recorded:
    return copy_of(made, tmp_path / "copy")


@asynccontextmanager
async def looking(history: Recorded, *, size: int = 50, **settings: object) -> AsyncIterator[CheckDrift]:
    async with replaying(history.settings.model_copy(update=settings)) as made:
        judges = made.judges
        yield CheckDrift(
            sample=SampleDecisions(made.history),
            fidelity=judges.fidelity,
            judge=judges.judge,
            policies=made.policies,
            clock=SystemClock(),
            size=size,
            window_seconds=10 * 365 * 24 * 60 * 60,
        )


async def looked(history: Recorded, revisions: Sequence[tuple[str, str]] = (), **options: object) -> DriftReport:
    async with looking(history, **options) as look:  # type: ignore[arg-type]
        return await look(revisions)


def problems(report: DriftReport) -> dict[str, int]:
    fidelity = report.as_json()["fidelity"]
    assert isinstance(fidelity, dict)
    return {problem["reason"]: problem["count"] for problem in fidelity["problems"]}  # type: ignore[index,call-overload]


async def test_a_whole_history_on_its_own_policy_does_not_drift(history: Recorded) -> None:
    report = await looked(history, [("live", history.first)])
    assert (report.found, problems(report)) == (False, {})
    assert (report.policies[0].compared, report.policies[0].flips) == (3, 0)
    covered = {(row.agent_id.rpartition("/")[2], row.checked == row.reproduced) for row in report.rows}
    assert covered == {("support-assistant", True)}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE document SET bytes = x'7b7d'", "document_altered"),
        ("DELETE FROM document", "document_missing"),
        ("UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'ALLOW', 'DENY') AS BLOB)", "record_altered"),
    ],
)
async def test_a_record_that_was_changed_is_found_and_named(history: Recorded, statement: str, reason: str) -> None:
    with apsw.Connection(str(history.settings.log_path)) as connection:
        connection.execute(statement)
    report = await looked(history)
    assert report.found
    assert set(problems(report)) == {reason}
    assert any(row.reproduced < row.checked for row in report.rows)


async def test_a_decision_that_nobody_made_is_found(history: Recorded) -> None:
    forged = await forge(history, "ticket-asks-for-customers", details={"outcome": "ALLOW", "findings": []})
    report = await looked(history)
    assert problems(report) == {"not_reproduced": 1}
    assert forged in json.dumps(report.as_json())


async def test_an_engine_that_is_another_one_is_found(history: Recorded, tmp_path: Path) -> None:
    version = PINNED_VERSION[:-1] + ("9" if PINNED_VERSION[-1] != "9" else "8")
    other = other_version(tmp_path / "bin" / "opa", version)
    report = await looked(history, engine_path=other, engine_dir=tmp_path / "engines")
    assert (report.found, problems(report)) == (True, {"engine_version": 3})


async def test_a_live_policy_that_moved_on_is_found_and_counted_by_direction(history: Recorded) -> None:
    report = await looked(history, [("live", history.first), ("next", "main")])
    live, moved = report.policies
    assert (report.found, problems(report)) == (True, {})
    assert (live.flips, moved.flips) == (0, 1)
    assert (moved.stricter, moved.looser, moved.risky) == (1, 0, 0)
    assert moved.examples == (history.decision("refund-lost-parcel"),)


async def test_a_revision_that_cannot_be_asked_is_said_and_hides_nothing_else(history: Recorded) -> None:
    report = await looked(history, [("next", "f" * 40), ("live", history.first)])
    assert report.found
    assert "f" * 12 in report.policies[0].problem
    assert report.policies[1].compared == 3


async def test_a_sample_is_bounded_and_holds_some_of_every_kind(history: Recorded) -> None:
    async with looking(history, size=2) as look:
        decisions = await look.sample(2)
        assert len({decision.text("outcome") for decision in decisions}) == len(decisions) == 2
        assert await look.sample(50, from_micros=2**52) == []


class Recording:
    """A log of events in a list, and pauses that are counted."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.pauses: list[float] = []
        self.enough = asyncio.Event()

    async def record(self, event: Event) -> Receipt:
        self.events.append(event)
        return Receipt(event.id, len(self.events) - 1, b"\0" * 32)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) > 2:
            self.enough.set()
            await asyncio.Event().wait()


async def test_the_watch_looks_again_and_again_and_records_what_it_found(history: Recorded) -> None:
    recording = Recording()
    async with looking(history) as look:
        watch = WatchDrift(
            look,
            lambda: [("live", "main")],
            record=recording.record,
            clock=SystemClock(),
            ids=RandomIds(),
            interval_seconds=3600.0,
            log=recording,  # type: ignore[arg-type]
            place=MemoryLastLook(),
            pause=recording.pause,
        )
        task = asyncio.create_task(watch.run())
        await asyncio.wait_for(recording.enough.wait(), 100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [event.type for event in recording.events] == ["drift.found", "drift.found"]
    assert recording.pauses == [60.0, 3600.0, 3600.0]
    details = recording.events[0].details()
    assert details["principal"] == "control-plane"
    assert details["policies"][0]["stricter"] == 1
    assert watch.last is not None
