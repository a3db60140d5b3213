"""The guard for asyncio takes the same steps, runs blocking functions beside the loop, and survives being cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from aisecops_client import (
    AsyncClient,
    AsyncGuard,
    CallDeniedError,
    ConfirmationDeclinedError,
    GrantNotUsableError,
    PlanBuilder,
    current_call,
)

from tests.scenes.grants.guarding import Outbox, Plane, plane

pytestmark = pytest.mark.asyncio


@pytest.fixture
def served() -> Iterator[Plane]:
    with plane() as running:
        yield running


@pytest_asyncio.fixture
async def guard(served: Plane) -> AsyncIterator[AsyncGuard]:
    async with AsyncClient.connect(served.address, served.token()) as client:
        yield AsyncGuard(client, clock=lambda: served.clock.now_ns() / 1e9)


async def test_coroutines_and_blocking_functions_run_as_granted(served: Plane, guard: AsyncGuard) -> None:
    outbox, threads = Outbox(), []

    @guard.tool("mail/send")
    async def send(to: str) -> dict[str, Any]:
        call = current_call()
        assert call is not None
        return outbox.send(to, tool=call.tool)

    @guard.tool("files/read")
    def read(path: str) -> str:
        threads.append((threading.current_thread() is threading.main_thread(), current_call() is not None))
        return path

    with guard.task("Do both.") as task:
        task.source("user_prompt", "Read and send.")
        assert await read("/a") == "/a"
        assert (await send("ada"))["id"] == 1
    assert threads == [(False, True)]
    assert served.types("execution.") == ["execution.executed"] * 2
    assert served.incidents() == []


async def test_calls_of_one_task_at_once_each_have_their_grant(served: Plane, guard: AsyncGuard) -> None:
    outbox = Outbox()
    send = guard.tool("mail/send")(outbox.send)
    with guard.task("Many."):
        results = await asyncio.gather(*(send(f"ada-{at}") for at in range(8)))
    assert sorted(result["to"] for result in results) == [f"ada-{at}" for at in range(8)]
    assert served.types("grant.redeemed") == ["grant.redeemed"] * 8
    assert served.incidents() == []


async def test_refusals_run_nothing(served: Plane, guard: AsyncGuard) -> None:
    outbox = Outbox()
    send, delete = (guard.tool(name)(outbox.send) for name in ("mail/send", "db/delete"))
    with pytest.raises(CallDeniedError):
        await delete("all")
    served.engine.obligations.append({"kind": "confirm", "step": "", "parameters": {}})
    with pytest.raises(ConfirmationDeclinedError):
        await send("ada")

    async def yes(_call: object, _parameters: object) -> bool:
        return True

    guard.confirm = yes
    await send("ada")
    assert len(outbox.sent) == 1


async def test_a_call_that_is_cancelled_is_told_to_have_failed(served: Plane, guard: AsyncGuard) -> None:
    begun = asyncio.Event()

    @guard.tool("mail/read")
    async def read() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(read())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    [ended] = served.events("execution.")
    assert (ended["type"], ended["details"]["failure"]) == ("execution.failed", "CancelledError")


async def test_a_plan_runs_in_its_order(served: Plane, guard: AsyncGuard) -> None:
    outbox = Outbox()
    guard.tool("mail/send")(outbox.send)
    plan = PlanBuilder(intent="two")
    first = plan.step("mail/send", {"to": "a"})
    plan.step("mail/send", {"to": "b"}, depends_on=[first])
    run = await guard.plan(plan)
    with pytest.raises(GrantNotUsableError):
        await run.call("step-2")
    assert [result["to"] for result in (await run.run()).values()] == ["a", "b"]
    with pytest.raises(LookupError):
        await run.call("step-9")
    assert served.incidents() == ["out_of_order"]
