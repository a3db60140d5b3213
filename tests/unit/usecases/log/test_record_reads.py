"""Readers are on record before they read, once an hour, and a log that takes nothing keeps nobody from reading."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from aisecops_server.domain.errors import LogUnavailableError
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.log.reading import MOST, QUIET_NS, Reading, ToldReadings
from aisecops_server.usecases.log.record_reads import MOST_OWED, RecordReads

from tests.fakes.policies import CountingIds, FakeLog
from tests.scenes.planes.engines import until

pytestmark = pytest.mark.asyncio
TRACE = Reading("ada", "AuditService/GetTrace", "a" * 32)


@dataclass
class Now:
    ns: int = 1_790_000_000_000_000_000

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


@dataclass
class Desk:
    log: FakeLog
    now: Now
    record: RecordReads

    def told(self) -> list[tuple[str, str]]:
        return [(event.type, str(event.details()["subject"])) for event in self.log.events]


@pytest.fixture
def desk() -> Desk:
    log, now = FakeLog(), Now()
    return Desk(log, now, RecordReads(log, now, CountingIds()))


async def test_who_reads_is_told_with_what_they_read(desk: Desk) -> None:
    await desk.record(TRACE)
    [event] = desk.log.events
    assert (event.type, event.trace_id) == ("evidence.read", "")
    assert event.details() == {"principal": "ada", "call": "AuditService/GetTrace", "subject": "a" * 32}


async def test_the_same_is_told_again_after_an_hour_and_another_at_once(desk: Desk) -> None:
    for reading in (TRACE, TRACE, Reading("eve", TRACE.call, TRACE.subject), Reading("ada", TRACE.call, "b" * 32)):
        await desk.record(reading)
    assert len(desk.log.events) == 3
    desk.now.ns += QUIET_NS
    await desk.record(TRACE)
    assert len(desk.log.events) == 4
    # A clock that was set back hides nobody.
    desk.now.ns -= QUIET_NS + 1
    await desk.record(TRACE)
    assert len(desk.log.events) == 5


async def test_what_a_log_does_not_take_is_told_in_order_when_it_does(desk: Desk) -> None:
    desk.log.failing = True
    for subject in "abc":
        await desk.record(Reading("ada", TRACE.call, subject))
    assert desk.told() == []
    desk.log.failing = False
    await desk.record(Reading("ada", TRACE.call, "d"))
    assert [subject for _, subject in desk.told()] == ["a", "b", "c", "d"]
    assert [event.occurred_at_ns for event in desk.log.events] == [desk.now.ns] * 4


async def test_what_is_owed_is_told_when_the_log_takes_it_though_nobody_reads(desk: Desk) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)
        desk.log.failing = len(waited) < 3
        await asyncio.sleep(0)

    desk.record.wait = wait
    running = asyncio.create_task(desk.record.run())
    desk.log.failing = True
    await desk.record(TRACE)
    await until(lambda: bool(desk.log.events))
    running.cancel()
    assert (waited, desk.told()) == ([1.0] * 3, [("evidence.read", "a" * 32)])


async def test_what_is_owed_is_bounded(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.log.failing = True
    for number in range(MOST_OWED + 1):
        await desk.record(Reading("ada", TRACE.call, str(number)))
    assert "is not on record: too much is owed" in caplog.text
    said = len(caplog.records)
    await desk.record.flush()
    assert len(caplog.records) == said
    desk.log.failing = False
    # What was not kept is told when it is read again.
    await desk.record(Reading("ada", TRACE.call, str(MOST_OWED)))
    assert [subject for _, subject in desk.told()] == [str(number) for number in range(MOST_OWED + 1)]


async def test_who_goes_away_while_it_is_told_is_told_of_once(desk: Desk) -> None:
    desk.log.gate = asyncio.Event()
    reading = asyncio.create_task(desk.record(TRACE))
    for _ in range(10):
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    desk.log.gate.set()
    await until(lambda: bool(desk.log.events))
    await desk.record.flush()
    assert desk.told() == [("evidence.read", "a" * 32)]


async def test_what_may_be_there_already_is_told_under_another_id(desk: Desk) -> None:
    seen: list[str] = []

    def stored_all_the_same(event: Event) -> None:
        seen.append(event.id)
        if len(seen) == 1:
            raise LogUnavailableError("the server did not answer")

    desk.log.on_append = stored_all_the_same
    await desk.record(TRACE)
    await desk.record.flush()
    assert len(set(seen)) == 2


async def test_so_many_are_remembered() -> None:
    told = ToldReadings()
    assert all(told.is_new(Reading("ada", "c", str(number)), 1) for number in range(MOST + 1))
    assert told.is_new(Reading("ada", "c", "0"), 1)
    assert not told.is_new(Reading("ada", "c", str(MOST)), 1)
