"""What a decision costs: how cheap our policy is, and how little the control plane adds to bare OPA.

    python -m benchmarks.decide TRACES [--rounds 7] [--json FILE]

`TRACES` is a folder of recorded traces (NAME.otlp.jsonl[.gz]). Targets, all over Unix sockets with the same requests:

- `trivial`     bare OPA with a policy that allows everything: the floor of one round trip;
- `bare`        bare OPA over REST with our bundle and the very documents that the control plane made of the requests;
- `logging`     the same with OPA's own decision log on the console;
- `decide`      the control plane: authenticated, explained, durable before it answers;
- `bare-batch`  bare OPA fed 100 documents a request;
- `decide-batch` DecideBatch of 100.

Every target is measured once a round, in turns; ratios are taken within a round and their median is what counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisecops.v1 import decision_service_pb2
from aisecops_client import Client
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings
from rich.console import Console
from rich.table import Table

from benchmarks import rig, workload
from benchmarks.rig import Load, Target

DECIDE = "/aisecops.v1.DecisionService/Decide"
BATCH = "/aisecops.v1.DecisionService/DecideBatch"
DECISION_PATH = "/v1/data/aisecops/decision/decision?provenance=true&metrics=true&strict-builtin-errors=true"
BATCH_PATH = "/v1/data/aisecops/batch/decisions?provenance=true&metrics=true&strict-builtin-errors=true"
BATCH_SIZE = 100
TRIVIAL = 'package aisecops.decision\n\ndecision := {"outcome": "ALLOW"}\n'


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured."""

    loadgen: Path
    targets: Mapping[str, Target]
    server_pid: int
    ready_seconds: float

    def measure(self, names: Sequence[str], *, rounds: int, clients: int, requests: int) -> dict[str, list[Load]]:
        chosen = [self.targets[name] for name in names]
        counts = {target.name: max(8, requests // target.unit) for target in chosen}
        return rig.in_turns(self.loadgen, chosen, rounds=rounds, clients=clients, requests=counts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a decision costs.")
    parser.add_argument("traces", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=400, help="decisions a round with one client")
    parser.add_argument("--decisions", type=int, default=0, help="decide this many more at last, and read the memory")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console()
    console.print(rig.machine())
    scratch_directory = tempfile.TemporaryDirectory(prefix="aisecops-bench-")
    with scratch_directory as scratch, started(Path(scratch), options.traces) as bench:
        results = _run(console, bench, rounds=options.rounds, requests=options.requests)
        results["ready_seconds"] = bench.ready_seconds
        console.print(f"ready {bench.ready_seconds:.2f} s after the start, with a built bundle")
        if options.decisions:
            results["memory"] = _memory(console, bench, options.decisions)
    if options.json:
        options.json.write_text(json.dumps({"machine": rig.machine(), **results}, indent=1))


def _run(console: Console, bench: Bench, *, rounds: int, requests: int) -> dict[str, Any]:
    singles = ("trivial", "bare", "logging", "decide")
    results: dict[str, Any] = {}
    for title, names, clients, count in (
        ("one client", singles, 1, requests),
        ("32 clients", singles, 32, requests * 4),
        ("batches of 100, one caller", ("bare-batch", "decide-batch"), 1, requests * 4),
        ("batches of 100, two callers", ("bare-batch", "decide-batch"), 2, requests * 4),
    ):
        measured = bench.measure(names, rounds=rounds, clients=clients, requests=count)
        base = "bare" if "bare" in names else "bare-batch"
        results[title] = show(console, title, measured, base)
    return results


def show(console: Console, title: str, measured: Mapping[str, Sequence[Load]], base: str) -> dict[str, Any]:
    table = Table(title=title)
    for heading in ("target", "decisions/s", "p50 ms", "p99 ms", f"rate ÷ {base}", f"p50 ÷ {base}"):
        table.add_column(heading, justify="left" if heading == "target" else "right")
    summary: dict[str, Any] = {}
    for name, loads in measured.items():
        rate, p50 = (rig.ratios(measured, name, to=base, of=of) for of in ("rate", "p50_us"))
        summary[name] = {
            "rate": rig.median([one.rate for one in loads]),
            "p50_ms": rig.median([one.p50_us for one in loads]) / 1000,
            "p99_ms": rig.median([one.p99_us for one in loads]) / 1000,
            "rate_ratio": rig.median(rate),
            "p50_ratio": rig.median(p50),
        }
        row = summary[name]
        table.add_row(
            name,
            f"{row['rate']:.0f}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            f"{row['rate_ratio']:.2f} [{min(rate):.2f}..{max(rate):.2f}]",
            f"{row['p50_ratio']:.2f} [{min(p50):.2f}..{max(p50):.2f}]",
        )
    console.print(table)
    return summary


def _memory(console: Console, bench: Bench, decisions: int) -> dict[str, float]:
    """Decide in batches and read the control plane's memory on the way."""
    readings = {}
    for share in (0.25, 0.5, 0.75, 1.0):
        rig.load(bench.loadgen, bench.targets["decide-batch"], clients=2, requests=decisions // 4 // BATCH_SIZE)
        readings[f"{share:.2f}"] = rig.resident_mebibytes(bench.server_pid)
    console.print(f"memory over {decisions} decisions: " + ", ".join(f"{value:.0f} MiB" for value in readings.values()))
    return readings


@contextlib.contextmanager
def started(scratch: Path, traces: Path) -> Iterator[Bench]:
    """Start the control plane and bare engines on our policy, in ``scratch``, and yield them ready to be measured."""
    opa = Path(os.environ.get("AISECOPS_OPA") or shutil.which("opa") or "no opa on PATH")
    loadgen = rig.build_loadgen(scratch)
    create_policy_repository(scratch / "policy", at_seconds=1)
    settings = Settings(state_dir=scratch / "state", repository=str(scratch / "policy"), engine_path=opa)
    environment = {
        **os.environ,
        "AISECOPS_STATE_DIR": str(settings.state_dir),
        "AISECOPS_REPOSITORY": settings.repository,
        "AISECOPS_ENGINE_PATH": str(opa),
        # Sources longer than the documents that come of them are part of the work.
        "AISECOPS_MAX_IN_FLIGHT": "1024",
        # A machine that does something else for a second must not end the run.
        "AISECOPS_DEADLINE_MILLISECONDS": "10000",
    }
    serve = rig.python("-m", "aisecops_server", "serve")
    with (scratch / "serve.log").open("wb") as log:
        # The first start builds the bundle; the second is the one whose time counts.
        with rig.running(serve, environment, log):
            try:
                rig.wait_for_socket(settings.socket)
            except rig.LoadFailedError as error:
                raise rig.LoadFailedError(f"{error}: {(scratch / 'serve.log').read_text()}") from error
        with rig.running(serve, environment, log) as server:
            began = time.perf_counter()
            rig.wait_for_socket(settings.socket)
            ready = time.perf_counter() - began
            with _targets(scratch, settings, traces, opa) as targets:
                yield Bench(loadgen, targets, server.pid, ready)


@contextlib.contextmanager
def _targets(scratch: Path, settings: Settings, traces: Path, opa: Path) -> Iterator[dict[str, Target]]:
    load = workload.recorded(traces, limit=600)
    token = issuer(settings).mint(load.agent_id, [Role.AGENT], seconds=3600)
    with Client.connect(f"unix:{settings.socket}", token) as client:
        load, documents = workload.of_size(load, workload.documents(client, load), smallest=2_000, largest=4_500)
    sizes = sorted(map(len, documents))
    print(f"{len(documents)} documents of {sizes[0]}..{sizes[-1]} bytes, median {sizes[len(sizes) // 2]}")
    (archive,) = (settings.state_dir / "bundles").glob("**/*.tar.gz")
    trivial = scratch / "trivial.rego"
    trivial.write_text(TRIVIAL)
    inputs = rig.write_payloads(scratch / "documents.bin", [b'{"input":' + one + b"}" for one in documents])
    batches = rig.write_payloads(scratch / "batches.bin", [_rest_batch(documents, at) for at in range(8)])
    plans = rig.write_payloads(scratch / "plans.bin", [one.SerializeToString() for one in load.requests])
    plan_batches = rig.write_payloads(scratch / "plan_batches.bin", [_plan_batch(load, at) for at in range(8)])
    ours = ("-b", "--skip-verify", str(archive))
    with (
        rig.engine(opa, scratch, "bare", *ours) as bare,
        rig.engine(opa, scratch, "logging", *ours, "--set", "decision_logs.console=true") as logging,
        rig.engine(opa, scratch, "trivial", str(trivial)) as floor,
    ):
        yield {
            "trivial": Target("trivial", "rest", floor, DECISION_PATH, inputs),
            "bare": Target("bare", "rest", bare, DECISION_PATH, inputs),
            "logging": Target("logging", "rest", logging, DECISION_PATH, inputs),
            "decide": Target("decide", "grpc", settings.socket, DECIDE, plans, token),
            "bare-batch": Target("bare-batch", "rest", bare, BATCH_PATH, batches, unit=BATCH_SIZE),
            "decide-batch": Target(
                "decide-batch", "grpc", settings.socket, BATCH, plan_batches, token, unit=BATCH_SIZE
            ),
        }


def _rest_batch(documents: Sequence[bytes], at: int) -> bytes:
    items = [documents[(at * BATCH_SIZE + number) % len(documents)] for number in range(BATCH_SIZE)]
    return b'{"input":{"items":[' + b",".join(items) + b"]}}"


def _plan_batch(load: workload.Workload, at: int) -> bytes:
    items = [
        decision_service_pb2.DecideBatchItem(
            correlation_id=str(number), request=load.requests[(at * BATCH_SIZE + number) % len(load.requests)]
        )
        for number in range(BATCH_SIZE)
    ]
    return decision_service_pb2.DecideBatchRequest(items=items).SerializeToString()


if __name__ == "__main__":
    main()
