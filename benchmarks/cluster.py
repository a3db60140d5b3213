"""What a cluster of local workers costs or gains, against the same replay in one process, in turns in one run.

    python -m benchmarks.cluster DIRECTORY [--documents 5000] [--workers 2] [--rounds 3]

`DIRECTORY` holds recorded agent traces (NAME.otlp.jsonl[.gz]). The bar: two workers do at least 0.9 of what one process
does on the same cores, so that what a cluster adds (TLS, a scheduler) is small beside what it does. Every evaluation is
made anew on both sides, and the reports must be the same bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import yaml
from aisecops_server.adapters.identity.cluster_folder import make_cluster
from aisecops_server.adapters.system import SystemClock
from aisecops_server.bootstrap.cluster import parts_of
from aisecops_server.bootstrap.replay import replaying
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.replays.replay import ReplayState, Selection
from aisecops_server.ports.replay import Parts
from aisecops_server.settings import Settings
from aisecops_server.usecases.replays.judge_decisions import Thoroughness
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from aisecops_server.usecases.replays.run_replays import ReplayCommand

from benchmarks import history, rig
from benchmarks.replay import candidates

BAR = 0.9


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description="Measure replay on a cluster.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(rig.machine())
    root = Path(tempfile.mkdtemp(prefix="aisecops-bench-"))
    try:
        asyncio.run(_measure(root, asked))
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def _measure(root: Path, asked: argparse.Namespace) -> None:
    settings = await history.record(root / "w", asked.directory, documents=asked.documents)
    candidate = candidates(root / "w" / "policy")["default"]
    alone: list[float] = []
    together: list[float] = []
    async with _cluster(root / "c", settings, workers=asked.workers) as member, parts_of(member) as parts:
        for _ in range(asked.rounds):
            here, own = await _replayed(settings, candidate, None)
            there, shared = await _replayed(settings, candidate, parts)
            assert own == shared, "the reports differ"
            alone.append(here)
            together.append(there)
            print(f"one process {here:8,.0f} decisions/s   {asked.workers} workers {there:8,.0f}", flush=True)
    ratios = [there / here for here, there in zip(alone, together, strict=True)]
    print(f"workers / one process: {statistics.median(ratios):.2f} (bar {BAR}), reports the same, byte by byte")


async def _replayed(settings: Settings, candidate: str, parts: Parts | None) -> tuple[float, bytes]:
    command = ReplayCommand(
        Selection(), WantedPolicy(revision=candidate), "benchmark", thoroughness=Thoroughness.EVERYTHING
    )
    async with replaying(settings, niceness=0, cluster=parts) as made:
        begun = time.perf_counter()
        started = await made.runs.start(command)
        async for record in made.runs.watch(started.id):
            last = record
        seconds = time.perf_counter() - begun
    assert last.state is ReplayState.DONE, last.problem
    assert last.report is not None
    return last.progress.done / seconds, canonical_bytes(last.report)


@contextlib.asynccontextmanager
async def _cluster(root: Path, settings: Settings, *, workers: int) -> AsyncIterator[Settings]:
    names = [f"worker-{number}" for number in range(workers)]
    files = make_cluster(root, ["scheduler", "replay", *names], scheduler="", hours=12, clock=SystemClock())
    running: list[asyncio.subprocess.Process] = []

    async def start(name: str, *words: str, **given: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aisecops_server", "replay", *words),
            env={**os.environ, "AISECOPS_CONFIG": str(files[name]), **given},
            stderr=asyncio.subprocess.PIPE,
        )
        running.append(process)
        assert process.stderr is not None
        async for line in process.stderr:
            if b"listens on" in line:
                return line.decode().strip().rpartition("tls://")[2]
        raise RuntimeError(f"{name} did not start")

    try:
        address = await start("scheduler", "scheduler", "--listen", "127.0.0.1:0", AISECOPS_STATE_DIR=str(root / "s"))
        for name in names:
            state = root / f"state-{name}"
            state.mkdir()
            for file in settings.state_dir.glob("audit.db*"):
                shutil.copy(file, state / file.name)
            given = {"AISECOPS_CLUSTER": address, "AISECOPS_STATE_DIR": str(state)}
            engine = {"AISECOPS_ENGINE_PATH": str(settings.engine_path)}
            await start(name, "worker", "--repository", settings.repository, **given, **engine)
        keys = {name: Path(path) for name, path in yaml.safe_load(files["replay"].read_text()).items()}
        yield settings.model_copy(update={**keys, "cluster": address})
    finally:
        for process in running:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    main()
