"""A real engine killed, frozen, starved or broken: nothing is allowed, and it comes back or says why not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from aisecops_server.adapters.opa.engine import OpaEngine
from aisecops_server.adapters.opa.process import State
from aisecops_server.adapters.opa.profile import EngineLimits
from aisecops_server.domain.decisions.decision import Verdict
from aisecops_server.domain.errors import EngineUnavailableError, NoDecisionError

from tests.scenes.planes import engines
from tests.scenes.planes.engines import document, replaced, serving, until

PLAIN = document("plain", value=1)


async def freeze(pid: int) -> None:
    """Stop every thread of a process; a signal alone only asks for it."""
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: all(stat_of(task)[0] == "T" for task in Path(f"/proc/{pid}/task").iterdir()))


def stat_of(process: Path) -> list[str]:
    return (process / "stat").read_text(encoding="ascii").rpartition(")")[2].split()


async def ask_on_and_on(engine: OpaEngine) -> None:
    while True:
        await engine.evaluate(PLAIN, deadline_seconds=5)


@pytest.mark.asyncio
async def test_a_killed_engine_refuses_and_then_serves_again(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, process):
        first = process.pid
        await engine.evaluate(PLAIN, deadline_seconds=5)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(EngineUnavailableError):
            await ask_on_and_on(engine)
        await until(replaced(process, first))
        verdict = await engine.evaluate(PLAIN, deadline_seconds=5)
        assert verdict.result == {"outcome": "ALLOW", "echo": 1, "limit": 3}


@pytest.mark.asyncio
async def test_a_frozen_engine_is_refused_at_the_deadline_then_replaced(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, process):
        frozen = process.pid
        await freeze(frozen)
        with pytest.raises(EngineUnavailableError) as raised:
            await engine.evaluate(PLAIN, deadline_seconds=0.05)
        assert raised.value.metadata()["why"] == "deadline"
        await until(replaced(process, frozen))
        assert (await engine.evaluate(PLAIN, deadline_seconds=5)).revision == engines.REVISION


@pytest.mark.asyncio
async def test_a_slow_rule_costs_its_caller_the_deadline_and_nobody_the_engine(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, process):
        before = process.pid
        with pytest.raises(EngineUnavailableError):
            await engine.evaluate(document("slow"), deadline_seconds=0.1)
        assert (await engine.evaluate(PLAIN, deadline_seconds=5)).revision == engines.REVISION
        async with asyncio.timeout(30):
            while not await is_idle(before):  # the abandoned evaluation, minutes long, was stopped
                pass
        assert process.pid == before


async def is_idle(pid: int) -> bool:
    before = cpu_ticks(pid)
    await asyncio.sleep(0.3)
    return cpu_ticks(pid) - before < 5


def cpu_ticks(pid: int) -> int:
    fields = stat_of(Path(f"/proc/{pid}"))
    return int(fields[11]) + int(fields[12])


@pytest.mark.asyncio
async def test_a_memory_bomb_ends_the_engine_and_not_the_machine(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    limits = EngineLimits(memory_bytes=256 << 20)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path, limits=limits) as (engine, process):
        starved = process.pid
        with pytest.raises(EngineUnavailableError) as raised:
            await engine.evaluate(document("memory"), deadline_seconds=60)
        assert raised.value.metadata()["why"] == "unreachable"
        await until(replaced(process, starved))
        assert (await engine.evaluate(PLAIN, deadline_seconds=5)).revision == engines.REVISION


@pytest.mark.asyncio
async def test_an_engine_that_keeps_dying_is_sealed(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    limits = EngineLimits(crashes=3)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path, limits=limits) as (engine, process):
        for _ in range(limits.crashes):
            await until(serving(process))
            os.kill(process.pid, signal.SIGKILL)
            await until(lambda: process.state is not State.SERVING)
        await until(lambda: process.state is State.FAILED)
        with pytest.raises(EngineUnavailableError) as raised:
            await engine.evaluate(PLAIN, deadline_seconds=5)
        assert raised.value.metadata()["why"] == "sealed"
        assert "roll back" in raised.value.hint.lower()


@pytest.mark.asyncio
async def test_an_engine_that_dies_now_and_then_is_not_sealed(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    limits = EngineLimits(crashes=2, crash_window_seconds=0.0)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path, limits=limits) as (engine, process):
        for _ in range(4):
            victim = process.pid
            os.kill(victim, signal.SIGKILL)
            await until(replaced(process, victim))
        assert (await engine.evaluate(PLAIN, deadline_seconds=5)).revision == engines.REVISION


@pytest.mark.asyncio
async def test_an_engine_that_cannot_come_back_is_sealed(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    limits = EngineLimits(crashes=3)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path, limits=limits) as (engine, process):
        (process.socket.parent / "aisecops").write_bytes(b"no bundle any more")
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: process.state is State.FAILED)
        with pytest.raises(EngineUnavailableError):
            await engine.evaluate(PLAIN, deadline_seconds=5)


@pytest.mark.asyncio
async def test_under_load_a_kill_yields_right_answers_and_refusals_only(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, process):
        answers: list[object] = []
        victim = process.pid

        async def caller(number: int) -> None:
            for turn in range(40):
                value = number * 1000 + turn
                try:
                    verdict = await engine.evaluate(document("plain", value=value), deadline_seconds=5)
                    answers.append(verdict.result == {"outcome": "ALLOW", "echo": value, "limit": 3})
                except (EngineUnavailableError, NoDecisionError) as error:
                    answers.append(error)
                    await until(replaced(process, victim))
                if (number, turn) == (0, 20):
                    os.kill(victim, signal.SIGKILL)

        await asyncio.gather(*(caller(number) for number in range(12)))
    assert len(answers) == 12 * 40
    assert False not in answers
    assert answers.count(True) >= 12 * 39
    assert {type(answer) for answer in answers} <= {bool, EngineUnavailableError}


@pytest.mark.asyncio
async def test_a_real_engine_refuses_to_decide_in_every_way_it_can(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    limits = EngineLimits(reply_bytes=100_000)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path, limits=limits) as (engine, _):
        why = {}
        for case, fields in {
            "nothing": {},
            "conflict": {},
            "builtin": {"text": "not a number"},
            "text": {},
            "huge": {"size": 50_000},
        }.items():
            with pytest.raises(NoDecisionError) as raised:
                await engine.evaluate(document(case, **fields), deadline_seconds=20)
            why[case] = raised.value.metadata()["why"]
    assert why == {
        "nothing": "undefined",
        "conflict": "status 500",
        "builtin": "status 500",
        "text": "shape",
        "huge": "reply too large",
    }


@pytest.mark.asyncio
async def test_bytes_that_are_not_a_document_are_refused(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, _):
        for broken in (b"", b"{", b'{"case":"plain"', b"\xff\xfe"):
            with pytest.raises(NoDecisionError):
                await engine.evaluate(broken, deadline_seconds=5)


def test_the_engine_ends_when_the_control_plane_is_killed(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    bundle = engines.build(tmp_path, key)
    script = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from tests.scenes.planes import engines
        from aisecops_server.domain.bundles.bundle import Bundle

        async def main(directory, archive, public):
            bundle = Bundle(revision=engines.REVISION, digest="d", archive=Path(archive), rules=())
            key = engines.Signer(private=Path("/"), public=Path(public).read_text())
            process = engines.process(bundle, key, Path(directory))
            await process.start()
            print(process.pid, flush=True)
            await asyncio.Event().wait()

        asyncio.run(main(*sys.argv[1:]))
        """
    )
    public = tmp_path / "public.pem"
    public.write_text(key.public, encoding="ascii")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(bundle.archive), str(public)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    asyncio.run(until(lambda: not is_running(child)))


def is_running(pid: int) -> bool:
    try:
        state = stat_of(Path(f"/proc/{pid}"))[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


@pytest.mark.asyncio
async def test_a_batch_for_a_frozen_engine_is_refused_item_by_item_and_decided_once_it_goes_on(tmp_path: Path) -> None:
    key = engines.signer(tmp_path)
    async with engines.running(engines.build(tmp_path, key), key, tmp_path) as (engine, process):
        await freeze(process.pid)
        answers = await engine.evaluate_batch([PLAIN] * 10, deadline_seconds=0.1)
        assert [type(answer) for answer in answers] == [EngineUnavailableError] * 10
        os.kill(process.pid, signal.SIGCONT)
        again = await engine.evaluate_batch([PLAIN] * 10, deadline_seconds=10)
        assert [type(answer) for answer in again] == [Verdict] * 10
