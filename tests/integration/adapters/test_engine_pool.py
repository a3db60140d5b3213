"""Engines by bundle: shared, held, retained, crowded out, and all gone at the end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_server.adapters.opa.pool import OpaEnginePool
from aisecops_server.adapters.opa.process import State
from aisecops_server.adapters.opa.profile import EngineLimits, Trust
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import BundleRejectedError, EngineUnavailableError

from tests.scenes.planes import engines
from tests.scenes.planes.engines import Signer, document, until

PLAIN = document("plain", value=1)


@asynccontextmanager
async def pool_of(
    key: Signer, directory: Path, *, capacity: int = 4, limits: EngineLimits | None = None
) -> AsyncIterator[OpaEnginePool]:
    pool = OpaEnginePool(
        engine=engines.engine_binary(),
        trust=Trust(key.public),
        run_directory=directory / "run",
        capacity=capacity,
        limits=limits,
    )
    try:
        yield pool
    finally:
        await pool.close()


def bundles(directory: Path, key: Signer, count: int) -> list[Bundle]:
    return [engines.build(directory, key, revision=f"{number:040x}"[::-1]) for number in range(1, count + 1)]


def up(pool: OpaEnginePool) -> list[str]:
    return [process.bundle.digest for process in pool.processes()]


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.asyncio
async def test_two_revisions_are_served_side_by_side_each_by_its_own_engine(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    first, second = bundles(tmp_path, key, 2)
    async with pool_of(key, tmp_path) as pool:
        engine, other = await asyncio.gather(pool.acquire(first), pool.acquire(second))
        verdicts = await asyncio.gather(*(e.evaluate(PLAIN, deadline_seconds=5) for e in (engine, other)))
        assert [verdict.revision for verdict in verdicts] == [first.revision, second.revision]
        assert (engine.bundle, other.bundle) == (first, second)
        assert len({process.pid for process in pool.processes()}) == 2


@pytest.mark.asyncio
async def test_callers_for_one_bundle_share_one_start(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    (bundle,) = bundles(tmp_path, key, 1)
    async with pool_of(key, tmp_path) as pool:
        acquired = await asyncio.gather(*(pool.acquire(bundle) for _ in range(8)))
        assert len(set(map(id, acquired))) == 1
        assert len(pool.processes()) == 1


@pytest.mark.asyncio
async def test_what_is_idle_and_least_recently_used_makes_room(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    first, second, third = bundles(tmp_path, key, 3)
    async with pool_of(key, tmp_path, capacity=2) as pool:
        await pool.acquire(first)
        await pool.acquire(second)
        await pool.acquire(first)
        await pool.acquire(third)
        gc.collect()
        assert up(pool) == [first.digest, third.digest]


@pytest.mark.asyncio
async def test_what_is_held_or_retained_stays_over_capacity(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    first, second, third, fourth = bundles(tmp_path, key, 4)
    async with pool_of(key, tmp_path, capacity=1) as pool:
        held = await pool.acquire(first)
        await pool.retain([second.digest])
        await pool.acquire(second)
        await pool.acquire(third)
        await pool.acquire(fourth)
        gc.collect()
        assert up(pool)[:2] == [first.digest, second.digest]
        assert third.digest not in up(pool)
        assert (await held.evaluate(PLAIN, deadline_seconds=5)).revision == first.revision
        del held
        gc.collect()
        await pool.retain([fourth.digest])
        assert up(pool) == [fourth.digest]


@pytest.mark.asyncio
async def test_a_refused_bundle_leaves_nothing_and_may_be_tried_again(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    (good,) = bundles(tmp_path, key, 1)
    bad = replace(good, archive=tmp_path / "bad.tar.gz")
    bad.archive.write_bytes(b"not a bundle")
    async with pool_of(key, tmp_path) as pool:
        refusals = await asyncio.gather(*(pool.acquire(bad) for _ in range(3)), return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [BundleRejectedError] * 3
        assert (pool.processes(), list((tmp_path / "run").iterdir())) == ([], [])
        assert (await (await pool.acquire(good)).evaluate(PLAIN, deadline_seconds=5)).revision == good.revision


@pytest.mark.asyncio
async def test_a_missing_archive_is_no_engine(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    (good,) = bundles(tmp_path, key, 1)
    async with pool_of(key, tmp_path) as pool:
        with pytest.raises(EngineUnavailableError):
            await pool.acquire(replace(good, archive=tmp_path / "nothing"))
        assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.asyncio
async def test_a_sealed_engine_stays_sealed_until_another_revision_is_retained(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    first, second = bundles(tmp_path, key, 2)
    async with pool_of(key, tmp_path, limits=EngineLimits(crashes=1)) as pool:
        await pool.acquire(first)
        (process,) = pool.processes()
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: process.state is State.FAILED)
        with pytest.raises(EngineUnavailableError, match="sealed"):
            await pool.acquire(first)
        await pool.acquire(second)
        await pool.retain([second.digest])
        assert (await (await pool.acquire(first)).evaluate(PLAIN, deadline_seconds=5)).revision == first.revision


@pytest.mark.asyncio
async def test_closing_ends_every_process_and_starts_no_more(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    first, second = bundles(tmp_path, key, 2)
    async with pool_of(key, tmp_path) as pool:
        engine = await pool.acquire(first)
        pids = [process.pid for process in pool.processes()]
        starting = asyncio.create_task(pool.acquire(second))
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises((EngineUnavailableError, asyncio.CancelledError)):
            await starting
        with pytest.raises(EngineUnavailableError):
            await pool.acquire(first)
        with pytest.raises(EngineUnavailableError):
            await engine.evaluate(PLAIN, deadline_seconds=5)
        assert not any(map(exists, pids))
        assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.asyncio
async def test_what_a_dead_control_plane_left_is_swept(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    run = tmp_path / "run"
    dead, living, foreign = run / "4194999-abc", run / f"{os.getpid()}-abc", run / "notes-abc"
    for directory in (dead, living, foreign):
        directory.mkdir(parents=True)
    async with pool_of(key, tmp_path):
        assert sorted(run.iterdir()) == sorted([living, foreign])
