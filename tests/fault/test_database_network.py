"""Two control planes, and a network to their database that is slow, breaks off, and swallows everything for a while.

Whoever asks gets a decision that is on record, or a clear error within its own deadline. Nothing is started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aisecops_client import AisecopsClientError, AsyncClient
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.events.event import EventId
from aisecops_server.domain.log.record import Receipt
from aisecops_server.settings import Settings

from tests.fault.network import BOTH, Link, Way, link_to
from tests.fault.rounds import rounds
from tests.fault.test_database_connections import over, wrong
from tests.fault.test_no_engine import plan
from tests.integration.api.real import running, settings_in
from tests.scenes.planes.engines import until
from tests.scenes.servers.postgres_servers import PostgresServer, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]
DEADLINE = 2.0
# What a busy machine may take to hand on an answer that was there in time, and to answer again after what was wrong.
SLACK, BACK = 3.0, 5.0
LANES = 3
# Why there is no answer: it is not in time, or the database is known to be away.
REASONS = {"DEADLINE_EXCEEDED", "ENGINE_UNAVAILABLE", "LOG_UNAVAILABLE"}


@dataclass
class Asker:
    """Asks one control plane without a pause, each question under its own key until it is answered."""

    client: AsyncClient
    name: str
    acknowledged: dict[str, Receipt] = field(default_factory=dict)
    errors: list[tuple[str, float]] = field(default_factory=list)

    async def lane(self, number: int, over: asyncio.Event) -> None:
        turn = 0
        while not over.is_set():
            key, began = f"{self.name}-{number}-{turn}", time.monotonic()
            try:
                answer = await self.client.decide(plan(), idempotency_key=key)
            except AisecopsClientError as error:
                self.errors.append((error.reason or error.code.name, time.monotonic() - began))
                continue
            assert answer.allowed
            told = answer.receipt
            self.acknowledged[key] = Receipt(EventId(told.event_id), told.log_index, bytes.fromhex(told.leaf_hash))
            turn += 1

    async def one_more(self) -> float:
        """Return how many seconds it took until one more was answered."""
        before, began = len(self.acknowledged), time.monotonic()
        await until(lambda: len(self.acknowledged) > before)
        return time.monotonic() - began


@dataclass
class Scene:
    """Two control planes on one database, each over a link of its own, and who asks them."""

    url: str
    links: list[Link]
    askers: list[Asker]
    lanes: list[asyncio.Task[None]]

    @property
    def acknowledged(self) -> list[Receipt]:
        return [receipt for asker in self.askers for receipt in asker.acknowledged.values()]

    async def through(self, fault: Fault, seconds: float) -> list[float]:
        """Let something be wrong for a while; return how long each control plane took to answer again after it."""
        for link in self.links[: fault.links]:
            link.delay, link.resets = fault.delay, fault.resets
            link.swallowed, link.is_holding = fault.swallowed, fault.is_holding
        if fault.links < len(self.links):
            # Who is not cut off goes on, whatever the other one held in its hands.
            await self.askers[-1].one_more()
        await asyncio.wait(self.lanes, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for link in self.links:
            link.heal()
        return list(await asyncio.gather(*(asker.one_more() for asker in self.askers)))


@dataclass(frozen=True)
class Fault:
    """What is wrong, with so many of the links."""

    name: str
    links: int = 2
    delay: float = 0.0
    resets: float = 0.0
    swallowed: frozenset[Way] = frozenset()
    is_holding: bool = False


FAULTS = (
    Fault("slow", delay=0.25),
    Fault("resets", resets=0.05),
    Fault("held up", links=1, is_holding=True),
    Fault("one is cut off", links=1, swallowed=BOTH),
    Fault("one is not answered", links=1, swallowed=frozenset({Way.ANSWERS})),
    Fault("both are cut off", swallowed=BOTH),
)


def settings_of(root: Path, links: list[Link], database: str) -> list[Settings]:
    """Return the settings of control planes with the same keys, each over its link."""
    first = settings_in(root).model_copy(update={"database_url": over(links[0], database)})
    issuer(first)
    other = root / "other"
    shutil.copytree(first.state_dir / "keys", other / "keys")
    return [first, first.model_copy(update={"state_dir": other, "database_url": over(links[1], database)})]


@contextlib.asynccontextmanager
async def scene(postgres: PostgresServer, root: Path) -> AsyncIterator[Scene]:
    database, ended = await asyncio.to_thread(postgres.database), asyncio.Event()
    async with contextlib.AsyncExitStack() as closing:
        links = [closing.enter_context(link_to(postgres.socket, seed=number)) for number in (1, 2)]
        askers = []
        for number, settings in enumerate(settings_of(root, links, database)):
            plane, client = await closing.enter_async_context(running(settings))
            await plane.policy.sync()
            client.timeout_seconds = DEADLINE
            askers.append(Asker(client, str(number)))
        lanes = [asyncio.create_task(asker.lane(number, ended)) for asker in askers for number in range(LANES)]
        try:
            for asker in askers:
                await asker.one_more()
            yield Scene(postgres.url(database), links, askers, lanes)
        finally:
            ended.set()
            await asyncio.gather(*lanes)


async def test_over_a_bad_network_nothing_is_lost_and_everybody_is_answered_in_time(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with scene(postgres, tmp_path) as at:
        for fault in FAULTS[: rounds(5, of_many=len(FAULTS))] * rounds(1, of_many=2):
            back = await at.through(fault, rounds(1, of_many=15))
            assert max(back) <= BACK, (fault.name, back)
        assert not [task for task in at.lanes if task.done()]
    errors = [error for asker in at.askers for error in asker.errors]
    assert {reason for reason, _ in errors} <= REASONS
    assert max((seconds for _, seconds in errors), default=0.0) <= DEADLINE + SLACK
    assert await wrong(at.url, at.acknowledged) == []
    assert len({receipt.log_index for receipt in at.acknowledged}) == len(at.acknowledged)
