"""Two control planes on one PostgreSQL database against one on a file: decisions a second, and one log without a gap.

    python -m benchmarks.shared_log TRACES [--rounds 5] [--clients 32] [--replicas 2] [--json FILE]

All of them serve the same policy on this machine; each round measures one after the other, starting with another one.
The database server is started for the run, with settings that lose nothing, on the same disk as the file. At the end
the shared log is read whole: indices without a gap, and every leaf verified.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aisecops_client import Client
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.adapters.postgres.event_log import open_log_read_only
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings
from rich.console import Console
from rich.table import Table

from benchmarks import rig, workload
from benchmarks.decide import DECIDE
from benchmarks.rig import Load, Target
from tests.scenes.servers.postgres_servers import postgres_server

REQUESTS = 3000


@dataclass(frozen=True, slots=True)
class Fleet:
    """Control planes that are measured together; ``name`` is shown."""

    name: str
    targets: tuple[Target, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure replicas on a shared log.")
    parser.add_argument("traces", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console()
    console.print(rig.machine())
    with tempfile.TemporaryDirectory(prefix="aisecops-bench-") as scratch, contextlib.ExitStack() as closing:
        place = Path(scratch)
        loadgen = rig.build_loadgen(place)
        create_policy_repository(place / "policy", at_seconds=1)
        server = closing.enter_context(postgres_server())
        url = server.url(server.database())
        alone = closing.enter_context(started(place, "file", 1, options.traces))
        shared = [
            closing.enter_context(started(place, f"{count} on PostgreSQL", count, options.traces, url=url))
            for count in sorted({1, options.replicas})
        ]
        fleets = [alone, *shared]
        rates: dict[str, list[float]] = {fleet.name: [] for fleet in fleets}
        for number in range(options.rounds):
            shift = number % len(fleets)
            for fleet in [*fleets[shift:], *fleets[:shift]]:
                rates[fleet.name].append(rate(loadgen, fleet, options.clients))
        size = asyncio.run(verified(url))
    table = Table("control planes", "decisions a second", "÷ one on a file")
    summary = {}
    for name, found in rates.items():
        ratio = statistics.median(one / other for one, other in zip(found, rates[alone.name], strict=True))
        summary[name] = {"rate": statistics.median(found), "ratio": ratio}
        table.add_row(name, f"{statistics.median(found):,.0f}", f"{ratio:.2f}")
    console.print(table)
    console.print(f"the shared log has {size:,} events, without a gap, and verifies")
    if options.json:
        options.json.write_text(json.dumps({"machine": rig.machine(), "rates": rates, "summary": summary}, indent=1))


@contextlib.contextmanager
def started(place: Path, name: str, count: int, traces: Path, *, url: str = "") -> Iterator[Fleet]:
    """Start so many control planes, with the same keys, and yield them ready to be measured."""
    with contextlib.ExitStack() as closing:
        targets: list[Target] = []
        for number in range(count):
            state = place / f"{name} {number}".replace(" ", "-")
            if targets:
                shutil.copytree(place / f"{name} 0".replace(" ", "-") / "keys", state / "keys")
            targets.append(closing.enter_context(_serving(place, state, f"{name} #{number + 1}", traces, url)))
        yield Fleet(name, tuple(targets))


@contextlib.contextmanager
def _serving(place: Path, state: Path, name: str, traces: Path, url: str) -> Iterator[Target]:
    opa = Path(os.environ.get("AISECOPS_OPA") or shutil.which("opa") or "no opa on PATH")
    settings = Settings(state_dir=state, repository=str(place / "policy"), engine_path=opa, database_url=url)
    environment = {
        **os.environ,
        "AISECOPS_STATE_DIR": str(state),
        "AISECOPS_REPOSITORY": settings.repository,
        "AISECOPS_ENGINE_PATH": str(opa),
        "AISECOPS_DATABASE_URL": url,
        "AISECOPS_UI_ADDRESS": "127.0.0.1:0",
        "AISECOPS_MAX_IN_FLIGHT": "1024",
        "AISECOPS_DEADLINE_MILLISECONDS": "10000",
    }
    told = place / f"{state.name}.log"
    serve = rig.python("-m", "aisecops_server", "serve")
    with told.open("wb") as log, rig.running(serve, environment, log):
        try:
            rig.wait_for_socket(settings.socket)
        except rig.LoadFailedError as error:
            raise rig.LoadFailedError(f"{error}: {told.read_text()}") from error
        load = workload.recorded(traces, limit=600)
        token = issuer(settings).mint(load.agent_id, [Role.AGENT], seconds=7200)
        with Client.connect(f"unix:{settings.socket}", token) as client:
            load, _ = workload.of_size(load, workload.documents(client, load), smallest=2_000, largest=4_500)
        plans = rig.write_payloads(place / f"{state.name}.bin", [one.SerializeToString() for one in load.requests])
        yield Target(name, "grpc", settings.socket, DECIDE, plans, token)


def rate(loadgen: Path, fleet: Fleet, clients: int) -> float:
    """Return the decisions a second of all of a fleet, which clients ask in equal parts."""
    share, requests = clients // len(fleet.targets), REQUESTS // len(fleet.targets)

    def one(target: Target) -> Load:
        return rig.load(loadgen, target, clients=share, requests=requests)

    with ThreadPoolExecutor(len(fleet.targets)) as pool:
        return sum(load.rate for load in pool.map(one, fleet.targets))


async def verified(url: str) -> int:
    """Return how many events the log has, after reading it whole."""
    log = await asyncio.to_thread(open_log_read_only, url)
    try:
        following = 0
        async for event in log.events(from_index=0, follow=False, trace_id=""):
            if event.index != following:
                raise rig.LoadFailedError(f"event {following} is not there")
            following += 1
        report = await log.verify()
        if not report.ok:
            raise rig.LoadFailedError(report.problem)
        return following
    finally:
        await log.close()


if __name__ == "__main__":
    try:
        main()
    except (rig.LoadFailedError, subprocess.CalledProcessError) as error:
        raise SystemExit(str(error)) from error
