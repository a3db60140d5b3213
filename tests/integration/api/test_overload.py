"""More than fits, over a real connection: told at once, in turns among tenants, and over when its cause is."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import pytest
from aisecops.v1.bundle_service_pb2 import GetStatusRequest
from aisecops.v1.bundle_service_pb2_grpc import BundleServiceStub
from aisecops.v1.decision_service_pb2_grpc import DecisionServiceStub
from aisecops_client import AsyncClient, Client, RetryLaterError
from aisecops_client.come_again import ComeAgain
from aisecops_client.messages import bearer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.tenants.fair_queue import FairQueue
from aisecops_server.entrypoints.grpc.admission import WorkQueue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.fakes.policy_engine import REVISION
from tests.integration.api.plans import plan, request
from tests.integration.api.running import Api, running_api

PATIENT, SHORT = 60.0, 0.05
SECONDS = 120.0


@dataclass
class Held:
    """An API whose engine answers only while ``open``, and the queue before it."""

    api: Api
    queue: FairQueue
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, reached: Callable[[FairQueue], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not reached(self.queue):  # noqa: ASYNC110 - the queue is pure and wakes nobody
                await asyncio.sleep(0)


@asynccontextmanager
async def held_api(*, slots: int, limit: int, patience: float = PATIENT) -> AsyncIterator[Held]:
    queue = FairQueue(slots, limit, patience)
    work = WorkQueue(queue, lambda caller: caller.partition("@")[2] or "default")
    async with running_api(max_in_flight=limit, work=work) as api:
        held = Held(api, queue)
        answer, start = api.engine.evaluate, api.engine.engine_at

        async def evaluate(document: bytes, *, deadline_seconds: float) -> object:
            await held.open.wait()
            return await answer(document, deadline_seconds=deadline_seconds)

        async def engine_at(revision: str) -> object:
            await held.open.wait()
            return await start(revision)

        api.engine.evaluate, api.engine.engine_at = evaluate, engine_at
        yield held


@pytest.mark.asyncio
async def test_a_loud_tenant_is_told_at_once_and_a_quiet_one_still_gets_in() -> None:
    async with (
        held_api(slots=2, limit=4) as held,
        contextlib.AsyncExitStack() as closing,
        held.api.client(subject="b@quiet") as quiet,
    ):
        for _wave in range(3):
            # Another client each time: one that was told to come later would.
            loud = await closing.enter_async_context(held.api.client(subject="a@loud"))
            held.open.clear()
            floods = [asyncio.create_task(_decided(loud)) for _ in range(4)]
            await held.until(lambda queue: (queue.running, queue.waiting) == (2, 2))
            refused = await _decided(loud)
            assert isinstance(refused, RetryLaterError)
            assert (refused.reason, refused.metadata["limit"]) == ("OVERLOADED", "4")
            assert refused.retry_after_seconds == pytest.approx(int(refused.metadata["retryMilliseconds"]) / 1000)
            other = asyncio.create_task(_decided(quiet))
            # One of the loud tenant's gives way to it, and is told so before anything is decided.
            done, _ = await asyncio.wait(floods, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
            assert [_why(task.result()) for task in done] == ["gave_way"]
            held.open.set()
            assert await other == "ALLOW"
            assert sorted(map(str, map(_why, await asyncio.gather(*floods)))) == ["ALLOW"] * 3 + ["gave_way"]
            await held.until(lambda queue: (queue.running, queue.waiting) == (0, 0))


@pytest.mark.asyncio
async def test_who_was_told_to_come_later_does_not_send_before() -> None:
    async with held_api(slots=1, limit=2) as held, held.api.client() as client:
        with Client.connect(held.api.address, held.api.token()) as blocking:
            floods = [asyncio.create_task(_decided(client)) for _ in range(2)]
            await held.until(lambda queue: queue.waiting == 1)
            # A clock that stands still: a busy machine must not make it time to come again.
            client._come_again = blocking._come_again = ComeAgain(lambda: 0.0)
            for decided in (partial(_decided, client), partial(asyncio.to_thread, _decided_blocking, blocking)):
                told = await decided()
                turned_away = held.queue.refused.total()
                again = await decided()
                assert isinstance(told, RetryLaterError)
                assert isinstance(again, RetryLaterError)
                assert (again.reason, again.metadata["why"]) == ("OVERLOADED", "told")
                assert 0 < again.retry_after_seconds <= told.retry_after_seconds
                assert held.queue.refused.total() == turned_away
            held.open.set()
            assert await asyncio.gather(*floods) == ["ALLOW"] * 2


@pytest.mark.asyncio
async def test_who_waits_longer_than_patience_allows_is_told_while_the_others_go_on() -> None:
    async with held_api(slots=1, limit=8, patience=SHORT) as held, held.api.client() as client:
        first = asyncio.create_task(_decided(client))
        await held.until(lambda queue: queue.running == 1)
        assert _why(await _decided(client)) == "waited"
        assert (held.queue.running, held.queue.waiting) == (1, 0)
        held.open.set()
        assert await first == "ALLOW"


@pytest.mark.asyncio
async def test_who_hangs_up_while_it_waits_leaves_no_trace() -> None:
    async with held_api(slots=1, limit=8) as held, held.api.client() as client:
        first = asyncio.create_task(_decided(client))
        await held.until(lambda queue: queue.running == 1)
        call = client._decisions.Decide(request(), metadata=bearer(client.token), timeout=SECONDS)
        await held.until(lambda queue: queue.waiting == 1)
        call.cancel()
        await held.until(lambda queue: queue.waiting == 0)
        held.open.set()
        assert await first == "ALLOW"
        assert await _decided(client) == "ALLOW"


@pytest.mark.asyncio
async def test_batches_count_by_their_items_before_they_are_read() -> None:
    async with held_api(slots=2, limit=64) as held, held.api.client() as client:
        batch = asyncio.create_task(client.decide_batch([plan()] * 64))
        await held.until(lambda queue: queue.running == 5)
        held.open.set()
        assert len(await batch) == 64


@pytest.mark.asyncio
async def test_dry_runs_at_other_revisions_weigh_as_much_as_what_they_may_start() -> None:
    async with held_api(slots=16, limit=32) as held, held.api.client() as client:
        run = asyncio.create_task(client.dry_run(plan(), revision=REVISION))
        await held.until(lambda queue: queue.running == 16)
        other = asyncio.create_task(client.dry_run(plan()))
        await held.until(lambda queue: queue.waiting == 1)
        held.open.set()
        assert [(await run).outcome, (await other).outcome] == ["ALLOW", "ALLOW"]


@pytest.mark.asyncio
async def test_health_and_administration_do_not_wait_behind_decisions() -> None:
    async with held_api(slots=1, limit=2) as held, held.api.client() as client:
        floods = [asyncio.create_task(_decided(client)) for _ in range(2)]
        await held.until(lambda queue: queue.waiting == 1)
        async with held.api.client(Role.PLATFORM, subject="person") as person:
            assert (await person.bundle_status()).live.commit == REVISION
        async with grpc.aio.insecure_channel(held.api.address) as channel:
            checked = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert checked.status == health_pb2.HealthCheckResponse.SERVING
        held.open.set()
        assert await asyncio.gather(*floods) == ["ALLOW"] * 2


async def _decided(client: AsyncClient) -> object:
    """Return the outcome of a plan, or the error that told why there is none."""
    try:
        return (await client.decide(plan())).outcome
    except RetryLaterError as error:
        return error


def _decided_blocking(client: Client) -> object:
    try:
        return client.decide(plan()).outcome
    except RetryLaterError as error:
        return error


def _why(found: object) -> object:
    return found.metadata["why"] if isinstance(found, RetryLaterError) else found


@pytest.mark.asyncio
async def test_a_call_without_a_request_is_told_so() -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        call = channel.stream_unary("/aisecops.v1.DecisionService/Decide")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(iter(()), metadata=bearer(api.token()), timeout=SECONDS)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.asyncio
async def test_what_does_not_fit_is_refused_before_its_request_came() -> None:
    async with held_api(slots=1, limit=2) as held, held.api.client() as client:
        floods = [asyncio.create_task(_decided(client)) for _ in range(2)]
        await held.until(lambda queue: queue.waiting == 1)
        async with grpc.aio.insecure_channel(held.api.address) as channel:
            # A stream of requests that never begins: only who did not read it can have refused.
            call = channel.stream_unary("/aisecops.v1.DecisionService/Decide")(
                metadata=bearer(held.api.token()), timeout=SECONDS
            )
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.open.set()
        assert await asyncio.gather(*floods) == ["ALLOW"] * 2


# More than the library keeps waiting in one line, over connections that each have fewer than its limit of streams.
CONNECTIONS, EACH = 8, 100


@pytest.mark.asyncio
async def test_a_flood_that_nobody_takes_up_cancels_no_health_check_and_no_administration() -> None:
    async with held_api(slots=1, limit=2) as held:
        with contextlib.ExitStack() as closing:
            channels = [closing.enter_context(_connection(held.api)) for _ in range(CONNECTIONS)]
            agent, person = bearer(held.api.token()), bearer(held.api.token(Role.PLATFORM, subject="person"))
            # From here to the first await nothing is taken up, because the loop that would do it stands still.
            floods = [
                DecisionServiceStub(channel).Decide.future(request(), metadata=agent, timeout=SECONDS)
                for channel in channels
                for _ in range(EACH)
            ]
            assert _first_ended(floods) is grpc.StatusCode.CANCELLED
            others = [
                health_pb2_grpc.HealthStub(channel).Check.future(health_pb2.HealthCheckRequest(), timeout=SECONDS)
                for channel in channels
                for _ in range(4)
            ]
            others += [
                BundleServiceStub(channel).GetStatus.future(GetStatusRequest(), metadata=person, timeout=SECONDS)
                for channel in channels
            ]
            assert await asyncio.to_thread(_codes, others) == {grpc.StatusCode.OK}
            held.open.set()
            told = await asyncio.to_thread(_codes, floods)
        assert told == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED}


def _connection(api: Api) -> grpc.Channel:
    return grpc.insecure_channel(api.address, options=[("grpc.use_local_subchannel_pool", 1)])


def _codes(calls: list[Any]) -> set[grpc.StatusCode]:
    return {call.code() for call in calls}


def _first_ended(calls: list[Any]) -> grpc.StatusCode:
    ended = concurrent.futures.Future[grpc.StatusCode]()

    def told(call: Any) -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            ended.set_result(call.code())

    for call in calls:
        call.add_done_callback(told)
    return ended.result(SECONDS)
