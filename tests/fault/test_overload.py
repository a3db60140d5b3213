"""More is asked than can be decided, again and again: what was answered is on record, and a quiet tenant is served.

The engine is stopped while the flood comes, so that how much is too much does not depend on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops_client import AsyncClient, RetryLaterError
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import OverloadedError
from aisecops_server.domain.tenants.fair_queue import FairQueue, Ticket

from tests.fault.rounds import MANY
from tests.fault.test_no_engine import plan
from tests.integration.api.real import running, settings_in

LOUD = "spiffe://corp.example/agent/nobody-registered"
LIMIT, RUNNING = 16, 4
FLOOD, QUIET = 8 * LIMIT, 4
WAVES = 3


@dataclass
class Asked:
    """Plans that were asked about: the ids of their decisions, or why there is none."""

    tasks: list[asyncio.Task[str]]

    @classmethod
    def of(cls, client: AsyncClient, count: int) -> Asked:
        return cls([asyncio.create_task(decided(client)) for _ in range(count)])

    async def until(self, reached: Callable[[Counter[str]], bool]) -> None:
        async with asyncio.timeout(60):
            while not reached(self.refused()):
                pending = [task for task in self.tasks if not task.done()]
                assert pending, f"all have ended: {self.refused()}"
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)

    def refused(self) -> Counter[str]:
        ended = [task.result() for task in self.tasks if task.done()]
        return Counter(said.removeprefix("refused: ") for said in ended if said.startswith("refused: "))

    async def answered(self) -> set[str]:
        return {said for said in await asyncio.gather(*self.tasks) if not said.startswith("refused: ")}


async def decided(client: AsyncClient) -> str:
    try:
        return (await client.decide(plan())).decision.decision_id
    except RetryLaterError as error:
        told = error.reason == "OVERLOADED" and error.retry_after_seconds
        return f"refused: {error.metadata['why'] if told else error}"


def signalled(control: ControlPlane, what: signal.Signals) -> None:
    engine = control.live.current()
    assert isinstance(engine, OpaEngine)
    os.kill(engine._process.pid, what)


@pytest.mark.skipif(
    os.environ.get(MANY) != "many",
    reason="an engine may stand still for ten seconds at most, and a busy machine may need more: make test-faults",
)
@pytest.mark.asyncio
async def test_a_flood_is_refused_a_quiet_tenant_is_served_and_every_answer_is_on_record(tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(
        update={"max_in_flight": LIMIT, "max_running": RUNNING, "patience_milliseconds": 60_000}
    )
    acknowledged: set[str] = set()
    async with running(settings, *Role) as (control, quiet):
        token = issuer(settings).mint(LOUD, (Role.AGENT,))
        for _wave in range(WAVES):
            # Another client each time: one that was told to come later would.
            async with AsyncClient.connect(f"unix:{settings.socket}", token) as loud:
                loud.timeout_seconds = 60.0
                signalled(control, signal.SIGSTOP)
                try:
                    flood = Asked.of(loud, FLOOD)
                    await flood.until(lambda found: found.total() == FLOOD - LIMIT)
                    asked = Asked.of(quiet, QUIET)
                    await flood.until(lambda found: found["gave_way"] == QUIET)
                finally:
                    signalled(control, signal.SIGCONT)
                served, others = await asked.answered(), await flood.answered()
                assert (len(served), len(others)) == (QUIET, LIMIT - QUIET)
                acknowledged |= served | others
        events = [event async for event in quiet.events()]
        concluded = [event.decision_id for event in events if event.type == "decision.concluded"]
        # What was refused was never begun, so the record has what was answered and nothing else.
        assert sorted(concluded) == sorted(acknowledged)
        assert len(acknowledged) == WAVES * LIMIT
        assert not [json.loads(event.body_json) for event in events if event.type == "decision.refused"]
        assert (await quiet.decide(plan())).allowed


class FirstCome(FairQueue):
    """The same queue with one line for all: what the turns are there for."""

    def offer(
        self, tenant: str, caller: str, weight: int, *, now: float, ends_at: float
    ) -> tuple[Ticket, tuple[Ticket, ...]]:
        return super().offer("all", "all", weight, now=now, ends_at=ends_at)


def offered_to_a_full(queue: FairQueue) -> Ticket:
    for _ in range(LIMIT):
        queue.offer("loud", "agent", 1, now=0.0, ends_at=60.0)
    return queue.offer("quiet", "agent", 1, now=0.0, ends_at=60.0)[0]


def test_without_turns_the_quiet_one_would_find_no_room() -> None:
    assert offered_to_a_full(FairQueue(RUNNING, LIMIT, 60.0)).caller == "agent"
    with pytest.raises(OverloadedError):
        offered_to_a_full(FirstCome(RUNNING, LIMIT, 60.0))
