"""A call that was made is not forgotten: not while the control plane is away, and not when the proxy is ended."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenes.mcp.mcp_front import Listening, front
from tests.scenes.mcp.mcp_scene import DESK, Scene, scene
from tests.scenes.mcp.mcp_wire import Wire, wired
from tests.scenes.planes.engines import until

pytestmark = pytest.mark.asyncio
SECONDS = 60.0


@pytest.fixture
def desk() -> Iterator[Scene]:
    with scene() as running:
        yield running


def proxied(desk: Scene) -> Any:
    (desk.root / "gates").mkdir(exist_ok=True)
    return desk.proxy(*DESK, DESK_JOURNAL=str(desk.journal), DESK_GATES=str(desk.root / "gates"))


async def under_way(desk: Scene, wire: Wire, *orders: str) -> None:
    """Have orders delivered, and return when all of them are at their gates."""
    for order in orders:
        os.mkfifo(desk.root / "gates" / order)
        params = {"name": "deliver", "arguments": {"order_id": order}}
        wire.say({"jsonrpc": "2.0", "id": order, "method": "tools/call", "params": params})
    await until(lambda: len(desk.done("deliver")) >= len(orders), seconds=SECONDS)


async def opened(desk: Scene, order: str) -> None:
    await asyncio.to_thread((desk.root / "gates" / order).write_text, "open")


async def delivered(desk: Scene, wire: Wire, order: str) -> None:
    """Open a gate, and see that the client has its answer."""
    await opened(desk, order)
    assert (await wire.answer(order))["result"]["content"][0]["text"] == f"delivered {order}"


def kept(desk: Scene) -> list[Path]:
    """Return the files of what is not told yet."""
    place = desk.root / ".local/state/aisecops-mcp"
    return sorted(found for found in place.glob("*/*/*") if not found.name.startswith("."))


async def told(desk: Scene, count: int = 1) -> list[dict[str, Any]]:
    """Wait until so many calls are told of; return them in the order in which they were."""
    async with asyncio.timeout(SECONDS):
        while len(found := await desk.events("execution.")) < count:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.05)
    return found


@asynccontextmanager
async def killed(parameters: Any) -> AsyncIterator[Wire]:
    """Give a proxy that is killed at the end."""
    async with wired(parameters) as wire:
        await wire.begin()
        try:
            yield wire
        finally:
            wire.process.send_signal(signal.SIGKILL)
            await asyncio.wait_for(wire.process.wait(), SECONDS)


async def test_a_call_that_ends_while_the_control_plane_is_away_is_told_when_it_is_back(desk: Scene) -> None:
    async with wired(proxied(desk)) as wire:
        await wire.begin()
        await under_way(desk, wire, "T-1")
        desk.stop()
        await delivered(desk, wire, "T-1")
        [file] = kept(desk)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert {stat.S_IMODE(folder.stat().st_mode) for folder in list(file.parents)[:3]} == {0o700}
        assert b"delivered" not in file.read_bytes()
        desk.start()
        [ran] = await told(desk)
        assert (ran["type"], ran["details"]["tool"]) == ("execution.executed", "desk/deliver")
        await until(lambda: not kept(desk))
    assert await desk.events("incident.") == []


async def test_what_a_killed_proxy_could_not_tell_is_told_once_by_the_next(desk: Scene) -> None:
    place = desk.root / ".local/state/aisecops-mcp"
    async with killed(proxied(desk)) as wire:
        await under_way(desk, wire, "T-1")
        desk.stop()
        await delivered(desk, wire, "T-1")
    assert len(kept(desk)) == 1
    shutil.copytree(place, desk.root / "before")
    # A proxy without a control plane keeps it, whatever else it does.
    async with wired(proxied(desk)) as wire:
        await wire.begin()
    assert len(kept(desk)) == 1
    desk.start()
    async with wired(proxied(desk)) as wire:
        [ran] = await told(desk)
        assert ran["type"] == "execution.executed"
        await until(lambda: not kept(desk))
    # Another that was ended before it could note that it had told this, tells it again, and it counts once.
    shutil.copytree(desk.root / "before", place, dirs_exist_ok=True)
    async with wired(proxied(desk)) as wire:
        await wire.begin()
        await until(lambda: not kept(desk))
    assert (len(await desk.events("execution.")), await desk.events("incident.")) == (1, [])


async def test_the_calls_of_a_session_are_told_in_the_order_in_which_they_ended(desk: Scene) -> None:
    ended = ["T-2", "T-4", "T-1", "T-3"]
    async with killed(proxied(desk)) as wire:
        await under_way(desk, wire, *sorted(ended))
        desk.stop()
        for order in ended:
            await delivered(desk, wire, order)
    desk.start()
    async with wired(proxied(desk)):
        found = await told(desk, len(ended))
    # The first to be called is `call-1`, and so on.
    assert [one["details"]["step"] for one in found] == [order.replace("T", "call") for order in ended]


async def test_a_caller_over_http_is_told_of_when_it_comes_again(desk: Scene) -> None:
    gates = desk.root / "gates"
    gates.mkdir()
    with front(Listening(desk, environment={"DESK_GATES": str(gates)})) as listening:
        async with listening.wire() as wire:
            await wire.begin()
            os.mkfifo(gates / "T-1")
            call = asyncio.create_task(wire.call(1, "deliver", order_id="T-1"))
            await until(lambda: len(desk.done("deliver")) == 1, seconds=SECONDS)
            desk.stop()
            await opened(desk, "T-1")
            assert (await call)["result"]["content"][0]["text"] == "delivered T-1"
    assert len(kept(desk)) == 1
    desk.start()
    with front(Listening(desk, environment={"DESK_GATES": str(gates)})) as listening:
        async with listening.wire(listening.token("spiffe://corp.example/agent/another")) as wire:
            await wire.begin()
        assert len(kept(desk)) == 1
        async with listening.wire() as wire:
            await wire.begin()
            [ran] = await told(desk)
    assert (ran["type"], await desk.events("incident.")) == ("execution.executed", [])
