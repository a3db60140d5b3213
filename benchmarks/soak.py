"""What a control plane holds while it decides for long at half of what it can: memory, files, threads, its engine.

    python -m benchmarks.soak [--minutes 20] [--json FILE]

The rate is half of the capacity measured at the start (a closed loop). Requests come in an open loop from a process of
its own; most are allowed, some denied, and nobody reports what came of them, so that grants and reservations end by
themselves: that takes half a minute here, and what is open is the same in number from then on. Growth is fitted over
the second half. It is met when memory grows by no more than 1 MB an hour, 4 at the upper end of the interval, and
neither files nor threads grow.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from aisecops.v1 import decision_service_pb2
from aisecops_client import Client, PlanBuilder
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import rig
from benchmarks.rig import Target
from benchmarks.slope import Slope, theil_sen

AGENT = "spiffe://corp.example/agent/support-assistant"
DECIDE = "/aisecops.v1.DecisionService/Decide"
CALLERS, CONNECTIONS = 32, 16
# What is open must be the same in number long before the second half begins.
GRANT_SECONDS, REPORT_SECONDS = 5, 25
READINGS = 300
LEAST_SECONDS = 1.0
MEMORY_MB_AN_HOUR, MEMORY_AT_MOST = 1.0, 4.0
HOUR = 3600.0
MET = "as wanted"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the processes hold at a moment; sizes in MiB."""

    seconds: float
    resident: float
    engine_resident: float
    write_ahead_log: float
    files: float
    threads: float


@dataclass(frozen=True, slots=True)
class Watched:
    """The processes that are watched, and the file that grows between two checkpoints of the database."""

    control_plane: int
    database: Path

    def read(self, seconds: float) -> Reading:
        """Return what they hold now."""
        of = Path(f"/proc/{self.control_plane}")
        status = dict(line.split(":", 1) for line in (of / "status").read_text().splitlines() if ":" in line)
        wal = self.database.with_name(f"{self.database.name}-wal")
        return Reading(
            seconds=seconds,
            resident=rig.resident_mebibytes(self.control_plane),
            engine_resident=sum(map(rig.resident_mebibytes, self.engines())),
            write_ahead_log=wal.stat().st_size / 2**20 if wal.exists() else 0.0,
            files=len(list((of / "fd").iterdir())),
            threads=float(status["Threads"]),
        )

    def engines(self) -> list[int]:
        """Return the engines that run."""
        children = Path(f"/proc/{self.control_plane}/task/{self.control_plane}/children").read_text().split()
        return [int(pid) for pid in children if Path(f"/proc/{pid}/exe").resolve().name.startswith("opa")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Decide at half load for long, and measure what grows.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console()
    console.print(rig.machine())
    with tempfile.TemporaryDirectory(prefix="aisecops-soak-") as scratch, started(Path(scratch)) as (target, watched):
        loadgen = rig.build_loadgen(Path(scratch))
        capacity = rig.load(loadgen, target, clients=CALLERS, requests=4000).rate
        console.print(
            f"capacity {capacity:.0f} decisions/s; {capacity / 2:.0f} are asked for {options.minutes:g} minutes"
        )
        readings, said = soaked(loadgen, target, watched, rate=capacity / 2, seconds=options.minutes * 60)
    slopes = grown(readings)
    show(console, readings, slopes, said)
    found_to_be = verdict(slopes)
    console.print(f"memory, files and threads: {found_to_be}")
    if options.json:
        found = {"readings": [asdict(one) for one in readings], "slopes": {n: asdict(s) for n, s in slopes.items()}}
        options.json.write_text(json.dumps({"machine": rig.machine(), "capacity": capacity, "load": said, **found}))
    sys.exit(found_to_be != MET)


def soaked(
    loadgen: Path, target: Target, watched: Watched, *, rate: float, seconds: float
) -> tuple[list[Reading], dict[str, Any]]:
    """Return the readings while the load lasts, and what the load generator says at its end."""
    command = [str(loadgen), "-target", target.kind, "-socket", str(target.socket), "-path", target.path]
    command += ["-payloads", str(target.payloads), "-clients", str(CONNECTIONS), "-token", target.token]
    command += ["-warmup", "50", "-rate", str(rate), "-seconds", str(seconds)]
    pause = max(LEAST_SECONDS, seconds / READINGS)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    readings: list[Reading] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking, Progress(*columns) as bar:
        task = bar.add_task("", total=seconds)
        began = time.perf_counter()
        while asking.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                asking.wait(timeout=pause)
                break
            passed = time.perf_counter() - began
            if passed > seconds:
                continue  # What was asked at last is still being answered.
            readings.append(watched.read(passed))
            bar.update(task, completed=passed, description=f"{readings[-1].resident:.1f} MiB")
        assert asking.stdout is not None
        return readings, json.loads(asking.stdout.read())


def grown(readings: list[Reading]) -> dict[str, Slope]:
    """Return the growth of each figure in an hour, over the second half."""
    late = [one for one in readings if one.seconds >= readings[-1].seconds / 2]
    hours = [one.seconds / HOUR for one in late]
    names = [field.name for field in fields(Reading) if field.name != "seconds"]
    return {name: theil_sen(hours, [getattr(one, name) for one in late]) for name in names}


def verdict(slopes: dict[str, Slope]) -> str:
    """Return whether nothing grows by more than is wanted; a short run may not tell."""
    memory, counted = slopes["resident"], (slopes["files"], slopes["threads"])
    megabytes = 2**20 / 1e6
    if memory.low * megabytes > MEMORY_MB_AN_HOUR or any(slope.low > 0 for slope in counted):
        return "NOT as wanted"
    is_small = memory.middle * megabytes <= MEMORY_MB_AN_HOUR and memory.high * megabytes <= MEMORY_AT_MOST
    if is_small and all(slope.middle <= 0 for slope in counted):
        return MET
    return "cannot be told from a run this short"


def show(console: Console, readings: list[Reading], slopes: dict[str, Slope], said: dict[str, Any]) -> None:
    """Print what was held at first, in the middle and at last, and how fast it grew."""
    table = Table(title=f"{len(readings)} readings")
    for heading in ("", "first", "middle", "last", "an hour", "95 % of runs"):
        table.add_column(heading, justify="right" if heading else "left")
    places = (readings[0], readings[len(readings) // 2], readings[-1])
    for name, slope in slopes.items():
        held = [f"{getattr(one, name):.1f}" for one in places]
        table.add_row(name, *held, f"{slope.middle:+.2f}", f"{slope.low:+.2f} … {slope.high:+.2f}")
    console.print(table)
    answered = said["answered"]
    console.print(
        f"{answered['count']:.0f} answered, p50 {answered['p50_ms']:.1f} ms, p99 {answered['p99_ms']:.1f} ms; "
        f"{said['refused']['count']:.0f} refused, {said['failed']['count']:.0f} failed {said['first_failure']}"
    )


@contextlib.contextmanager
def started(scratch: Path) -> Iterator[tuple[Target, Watched]]:
    """Run a control plane with the policy that ships, and give what to ask and what to watch."""
    opa = Path(os.environ.get("AISECOPS_OPA") or shutil.which("opa") or "no opa on PATH")
    create_policy_repository(scratch / "policy", at_seconds=1)
    settings = Settings(state_dir=scratch / "state", repository=str(scratch / "policy"), engine_path=opa)
    environment = {
        **os.environ,
        "AISECOPS_STATE_DIR": str(settings.state_dir),
        "AISECOPS_REPOSITORY": settings.repository,
        "AISECOPS_ENGINE_PATH": str(opa),
        "AISECOPS_UI_ADDRESS": "",
        "AISECOPS_GRANT_SECONDS": str(GRANT_SECONDS),
        "AISECOPS_REPORT_SECONDS": str(REPORT_SECONDS),
        # A machine that does something else for a second must not end the run.
        "AISECOPS_DEADLINE_MILLISECONDS": "10000",
    }
    with (
        (scratch / "serve.log").open("wb") as log,
        rig.running(rig.python("-m", "aisecops_server", "serve"), environment, log) as server,
    ):
        rig.wait_for_socket(settings.socket)
        token = issuer(settings).mint(AGENT, [Role.AGENT], seconds=12 * 3600)
        with Client.connect(f"unix:{settings.socket}", token) as client:
            outcomes = [client.decide(one.plan).outcome for one in requests()]
        if set(outcomes) != {"ALLOW", "DENY"}:
            raise rig.LoadFailedError(f"the plans are decided as {sorted(set(outcomes))}, not allowed and denied")
        payloads = rig.write_payloads(scratch / "plans.bin", [one.SerializeToString() for one in requests()])
        yield Target("decide", "grpc", settings.socket, DECIDE, payloads, token), Watched(server.pid, settings.log_path)


def requests() -> list[decision_service_pb2.DecideRequest]:
    """Return plans of one agent, four of five to be allowed."""
    return [decision_service_pb2.DecideRequest(plan=_plan(number).build()) for number in range(20)]


def _plan(number: int) -> PlanBuilder:
    plan = PlanBuilder(intent="answer a ticket", environment="production")
    told = " ".join(f"Line {line} of ticket T-{number}: the parcel has not come." for line in range(20))
    prompt = plan.source("user_prompt", f"Please summarise ticket T-{number}. {told}")
    tool = "payments/create_transfer" if number % 5 == 0 else "tickets/read"
    plan.step(tool, {"ticket_id": f"T-{number}"}, influenced_by=[prompt])
    return plan


if __name__ == "__main__":
    main()
