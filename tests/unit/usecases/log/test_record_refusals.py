"""Refused callers are counted, told at once and then ever more seldom, and never lost for want of a log."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.callers.refusal import MOST_KINDS, Pause, Refusal, RefusalTally
from aisecops_server.usecases.log.record_refusals import RecordRefusals

from tests.fakes.clock import FakeClock
from tests.fakes.event_log import MemoryEventLog


def refusal(name: str = "ada") -> Refusal:
    return Refusal("NOT_PERMITTED", "role", "/a/B", "unix", principal=name)


@dataclass
class Waits:
    """Time that goes by only when it is let, with what happens in it."""

    meanwhile: list[int]
    recorder: RecordRefusals | None = None
    waited: list[float] = field(default_factory=list)
    quiet: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        if not self.meanwhile:
            raise asyncio.CancelledError
        came = self.meanwhile.pop(0)
        if not came:
            self.quiet.set()
        for _ in range(came):
            assert self.recorder is not None
            self.recorder.note(refusal())


def recorder(log: MemoryEventLog, *meanwhile: int) -> tuple[RecordRefusals, Waits]:
    waits = Waits(list(meanwhile))
    waits.recorder = RecordRefusals(log, FakeClock(), RandomIds(), waits)
    return waits.recorder, waits


def counted(log: MemoryEventLog) -> list[int]:
    return [json.loads(stored.event.body)["details"]["refused"] for stored in log.stored]


async def run(made: RecordRefusals) -> None:
    with pytest.raises(asyncio.CancelledError):
        await made.run()


@pytest.mark.asyncio
async def test_the_first_is_told_at_once_and_a_flood_ever_more_seldom() -> None:
    log = MemoryEventLog()
    made, waits = recorder(log, *[1000] * 12)
    made.note(refusal())
    await run(made)
    assert counted(log) == [1] + [1000] * 12
    assert waits.waited == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]


@pytest.mark.asyncio
async def test_after_a_quiet_time_the_next_one_is_told_soon_again() -> None:
    log = MemoryEventLog()
    made, waits = recorder(log, 1, 1, 0)
    made.note(refusal())
    running = asyncio.create_task(made.run())
    await waits.quiet.wait()
    made.note(refusal())
    with pytest.raises(asyncio.CancelledError):
        await running
    assert counted(log) == [1, 1, 1, 1]
    assert waits.waited == [1, 2, 4, 1]


@pytest.mark.asyncio
async def test_what_a_sealed_log_does_not_take_is_told_when_it_does() -> None:
    log = MemoryEventLog(sealed="the disk is full")
    made, _ = recorder(log)
    made.note(refusal("ada"))
    await made.flush()
    made.note(refusal("bob"))
    await made.flush()
    assert log.stored == []
    log.sealed = ""
    await made.flush()
    await made.flush()
    [event] = log.stored
    details: dict[str, Any] = json.loads(event.event.body)["details"]
    assert details["refused"] == 2
    assert {kind["principal"]: kind["count"] for kind in details["kinds"]} == {"ada": 1, "bob": 1}


def test_only_so_many_kinds_are_kept_apart_and_all_are_counted() -> None:
    tally, earlier = RefusalTally(), RefusalTally()
    for number in range(1000):
        earlier.add(refusal(f"a{number}"), 10 + number)
        tally.add(refusal(f"b{number}"), 2000 + number)
    tally.join(earlier)
    facts = tally.facts()
    assert (facts["refused"], len(tally.counts)) == (2000, MOST_KINDS)
    assert facts["others"] == 2000 - MOST_KINDS
    assert (tally.first_ns, tally.last_ns) == (10, 2999)


def test_a_pause_grows_to_its_bound_and_begins_anew_after_rest() -> None:
    pause = Pause()
    assert [pause.next() for _ in range(12)][-3:] == [512, 600, 600]
    pause.rest()
    assert pause.next() == 1
