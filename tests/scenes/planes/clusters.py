"""A real replay cluster for tests: a scheduler and workers as programs of their own, with keys of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from aisecops_server.adapters.identity.cluster_folder import make_cluster
from aisecops_server.adapters.system import SystemClock
from aisecops_server.settings import Settings

from tests.scenes.replays.replays import Recorded
from tests.support import opa_binary

Process = asyncio.subprocess.Process
_SAID_SECONDS = 60


@dataclass
class Cluster:
    """A scheduler and workers, which tests start and kill."""

    root: Path
    recorded: Recorded
    address: str = "127.0.0.1:0"
    processes: dict[str, Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("scheduler", "worker-1", "worker-2", "replay")
        self.members = make_cluster(self.root, names, scheduler=self.address, hours=1, clock=SystemClock())

    def settings(self, of: Settings) -> Settings:
        """Return ``of`` with what makes its replays this cluster's."""
        keys = {name: Path(path) for name, path in yaml.safe_load(self.members["replay"].read_text()).items()}
        return of.model_copy(update={**keys, "cluster": self.address})

    async def scheduler(self) -> str:
        """Start the scheduler and return what it said."""
        said = await self._start("scheduler", "scheduler", "--listen", self.address)
        self.address = said.strip().rpartition("tls://")[2]
        return said

    async def worker(self, name: str, *, log: Path | None = None) -> str:
        """Start a worker on a copy of the log and return what it said."""
        state = self.root / f"state-{name}"
        if not state.exists():
            state.mkdir()
            for file in (log or self.recorded.settings.state_dir).glob("audit.db*"):
                shutil.copy(file, state / file.name)
        return await self._start(name, "worker", "--repository", str(self.recorded.policy), state=state)

    async def kill(self, name: str) -> None:
        """Kill a member, at once."""
        process = self.processes.pop(name)
        process.kill()
        await process.wait()

    async def _start(self, name: str, *words: str, state: Path | None = None) -> str:
        process = self.processes[name] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aisecops_server", "replay", *words),
            env={
                **os.environ,
                "AISECOPS_CLUSTER": self.address,
                "AISECOPS_CONFIG": str(self.members[name]),
                "AISECOPS_STATE_DIR": str(state or self.root / f"state-{name}"),
                "AISECOPS_ENGINE_PATH": str(opa_binary()),
            },
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        said = ""
        async with asyncio.timeout(_SAID_SECONDS):
            async for line in process.stderr:
                said += line.decode()
                if "listens on" in said:
                    return said
        raise AssertionError(said)


@asynccontextmanager
async def cluster_of(root: Path, recorded: Recorded) -> AsyncIterator[Cluster]:
    """A cluster whose members are killed at the end."""
    cluster = Cluster(root, recorded)
    try:
        yield cluster
    finally:
        for name in list(cluster.processes):
            await cluster.kill(name)
