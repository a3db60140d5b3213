"""An engine that is started before there is a bundle: it serves what it is given once that is verified, or nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_server.adapters.opa.pool import OpaEnginePool
from aisecops_server.adapters.opa.process import State
from aisecops_server.adapters.opa.profile import EngineLimits, Trust
from aisecops_server.adapters.opa.spare import Spare
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import BundleRejectedError, EngineUnavailableError

from tests.integration.adapters.test_engine_pool import exists, pool_of
from tests.scenes.planes import engines, processes
from tests.scenes.planes.engines import Signer, document, replaced, until

PLAIN = document("plain", value=1)
Children = Callable[[], set[int]]
pytestmark = pytest.mark.asyncio


async def spare_of(key: Signer, directory: Path) -> Spare:
    return await Spare.start(
        engine=engines.engine_binary(),
        trust=Trust(key.public),
        limits=EngineLimits(),
        parent=directory / "run",
    )


@pytest.fixture
def children() -> Children:
    """Return what tells the processes that were started since, whatever another test of this process left running."""
    others = processes.children()
    return lambda: processes.children() - others


def runs(directory: Path) -> list[Path]:
    return list((directory / "run").iterdir())


async def is_engine(pid: int) -> None:
    await until(lambda: b"run\0--server" in Path(f"/proc/{pid}/cmdline").read_bytes())


async def test_it_does_not_listen_before_it_is_given_a_bundle_and_then_serves_that_one(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    bundle = engines.build(tmp_path, key)
    spare = await spare_of(key, tmp_path)
    await is_engine(spare.child.pid)
    # Long enough for an engine with a bundle to be there.
    async with engines.running(bundle, key, tmp_path / "other"):
        assert not spare.directory.socket.exists()
    process = engines.process(bundle, key, tmp_path)
    await process.start(spare)
    try:
        assert process.pid == spare.child.pid
        assert stat.S_IMODE(process.socket.stat().st_mode) == 0o600
        verdict = await engines.OpaEngine(process).evaluate(PLAIN, deadline_seconds=5)
        assert (verdict.revision, verdict.result) == (bundle.revision, {"outcome": "ALLOW", "echo": 1, "limit": 3})
    finally:
        await process.stop()
    assert (exists(spare.child.pid), runs(tmp_path)) == (False, [])


async def test_it_comes_back_with_the_same_bundle_when_it_was_killed(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    bundle = engines.build(tmp_path, key)
    process = engines.process(bundle, key, tmp_path)
    await process.start(await spare_of(key, tmp_path))
    try:
        bundle.archive.unlink()
        first = process.pid
        os.kill(first, signal.SIGKILL)
        await until(replaced(process, first))
        assert (await engines.OpaEngine(process).evaluate(PLAIN, deadline_seconds=5)).revision == bundle.revision
    finally:
        await process.stop()


@pytest.mark.parametrize("what", ["no bundle", "nothing", "half of one", "another key's", "unsigned"])
async def test_what_does_not_verify_is_refused_as_ever(tmp_path: Path, what: str) -> None:
    key = engines.signer(tmp_path)
    bundle = engines.build(tmp_path, key)
    honest = bundle.archive.read_bytes()
    if what in ("another key's", "unsigned"):
        (tmp_path / "else").mkdir()
        bundle = engines.build(tmp_path / "else", engines.signer(tmp_path / "else") if "key" in what else None)
    else:
        bundle.archive.write_bytes({"no bundle": b"no bundle", "nothing": b"", "half of one": honest[:200]}[what])
    spare = await spare_of(key, tmp_path)
    process = engines.process(bundle, key, tmp_path)
    with pytest.raises(BundleRejectedError):
        await process.start(spare)
    assert process.state is State.STOPPED
    assert (exists(spare.child.pid), runs(tmp_path)) == (False, [])


async def test_a_bundle_of_another_revision_is_refused(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    bundle = replace(engines.build(tmp_path, key), revision="f" * 40)
    with pytest.raises(BundleRejectedError, match="calls itself revision"):
        await engines.process(bundle, key, tmp_path).start(await spare_of(key, tmp_path))
    assert runs(tmp_path) == []


async def test_one_that_died_while_it_waited_is_no_loss(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    bundle = engines.build(tmp_path, key)
    spare = await spare_of(key, tmp_path)
    os.kill(spare.child.pid, signal.SIGKILL)
    await until(lambda: not spare.is_waiting)
    process = engines.process(bundle, key, tmp_path)
    await process.start(spare)
    try:
        assert process.pid != spare.child.pid
        assert len(runs(tmp_path)) == 1
        assert (await engines.OpaEngine(process).evaluate(PLAIN, deadline_seconds=5)).revision == bundle.revision
    finally:
        await process.stop()


async def test_who_anticipates_a_bundle_gets_its_engine_from_the_process_that_waited(
    tmp_path: Path, children: Children
) -> None:
    key = engines.signer(tmp_path)
    bundle = engines.build(tmp_path, key)
    async with pool_of(key, tmp_path) as pool:
        async with pool.anticipated():
            await until(lambda: len(children()) == 1)
            [waiting] = children()
            engine = await pool.acquire(bundle)
        assert [process.pid for process in pool.processes()] == [waiting]
        assert (await engine.evaluate(PLAIN, deadline_seconds=5)).revision == bundle.revision
        assert len(runs(tmp_path)) == 1


async def test_what_nobody_took_is_thrown_away_whatever_ended_the_wait(tmp_path: Path, children: Children) -> None:
    key = engines.signer(tmp_path)
    bundle = engines.build(tmp_path, key)
    async with pool_of(key, tmp_path) as pool:
        engine = await pool.acquire(bundle)
        [own] = children()
        with pytest.raises(BundleRejectedError):
            async with pool.anticipated():
                raise BundleRejectedError("it does not compile")
        async with pool.anticipated():
            # Warm already, so the process that was started early is for nobody.
            assert await pool.acquire(bundle) is engine
        await until(lambda: children() == {own} and len(runs(tmp_path)) == 1)


async def test_what_waits_ends_with_the_pool(tmp_path: Path, children: Children) -> None:
    key = engines.signer(tmp_path)
    async with pool_of(key, tmp_path) as pool:
        waiting = pool.anticipated()
        await waiting.__aenter__()
        await until(lambda: len(children()) == 1)
        await pool.close()
        assert (children(), runs(tmp_path)) == (set(), [])
        await waiting.__aexit__(None, None, None)
        async with pool.anticipated():
            await asyncio.sleep(0)
        assert (children(), runs(tmp_path)) == (set(), [])


@pytest.mark.parametrize("steps", range(4))
async def test_a_pool_that_closes_while_it_gives_leaves_nothing(tmp_path: Path, children: Children, steps: int) -> None:
    key = engines.signer(tmp_path)
    bundle = engines.build(tmp_path, key)
    async with pool_of(key, tmp_path) as pool, pool.anticipated():
        await until(lambda: len(children()) == 1)
        acquiring = asyncio.create_task(pool.acquire(bundle))
        for _ in range(steps):
            await asyncio.sleep(0)
        await pool.close()
        with pytest.raises((EngineUnavailableError, asyncio.CancelledError)):
            await acquiring
        # Whether the machine can take the network away is tried once, by a program that ends by itself.
        await until(lambda: (children(), runs(tmp_path)) == (set(), []))


async def test_without_an_engine_it_is_told_by_who_needs_one(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    bundle: Bundle = engines.build(tmp_path, key)
    gone = replace(engines.engine_binary(), path=tmp_path / "no-opa")
    pool = OpaEnginePool(engine=gone, trust=Trust(key.public), run_directory=tmp_path / "run")
    async with pool.anticipated():
        with pytest.raises(EngineUnavailableError):
            await pool.acquire(bundle)
    await pool.close()
    assert runs(tmp_path) == []
