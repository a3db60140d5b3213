"""What becomes of a control plane that is asked eight times as much as it can do.

    python -m benchmarks.overload TRACES [--seconds 60] [--rounds 3] [--heed] [--json FILE]

Requests come in an open loop from a process of its own: at the moments of a Poisson process, whether or not earlier
ones were answered, and a latency counts from the moment at which the request should have been sent. A round measures
the capacity (a closed loop of as many callers as run at once), then asks once at that rate, then eight times of it,
then at that rate again. Goodput is what was answered a second until the last answer came; a refusal is none.

Rates on a machine that others use are rough, and the load generator works on the same cores. So the processor time of
the control plane, its engines and the generator is told as well: what a decision costs by the loop at the capacity, and
what is left over at overload for each request that was not answered. With `--heed` callers send nothing until the time
that a refusal told is over, as clients of ours do; what they keep back is neither an answer nor a refusal.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import rig
from benchmarks.decide import Bench, started
from benchmarks.rig import Target

TIMES = 8
# As many as run at once: a closed loop must not be refused.
CALLERS = 32
CONNECTIONS = 16
REQUESTS = 4000


@dataclass(frozen=True, slots=True)
class Part:
    """One open loop: what was offered, and latencies in milliseconds of what was answered and what was refused.

    ``worked`` are the processor seconds of the control plane and its engines, ``generator`` those of who asked.
    """

    name: str
    seconds: float
    took: float
    offered: int
    answered: dict[str, float]
    refused: dict[str, float]
    failed: dict[str, float]
    first_failure: str
    behind_ms: float
    held: int
    generator: float
    resident: float
    worked: float

    @property
    def goodput(self) -> float:
        """Return answers a second."""
        return self.answered["count"] / self.took

    @property
    def turned_away(self) -> float:
        """Return how many were sent and not answered."""
        return self.refused["count"] + self.failed["count"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what overload does.")
    parser.add_argument("traces", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each loop lasts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=float, default=TIMES, help="how many times the capacity is asked for")
    parser.add_argument("--heed", action="store_true", help="callers come again when they were told to")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console()
    console.print(rig.machine())
    scratch_directory = tempfile.TemporaryDirectory(prefix="aisecops-bench-")
    with scratch_directory as scratch, started(Path(scratch), options.traces) as bench:
        rounds = [one_round(console, bench, number, options) for number in range(options.rounds)]
    summary = {name: rig.median([one["ratios"][name] for one in rounds]) for name in rounds[0]["ratios"]}
    console.print(f"median of {len(rounds)}: " + ", ".join(f"{name} {value:.2f}" for name, value in summary.items()))
    if options.json:
        options.json.write_text(json.dumps({"machine": rig.machine(), "rounds": rounds, "median": summary}, indent=1))


def one_round(console: Console, bench: Bench, number: int, options: argparse.Namespace) -> dict[str, Any]:
    target = bench.targets["decide"]
    began = processor_seconds(bench.server_pid)
    capacity = rig.load(bench.loadgen, target, clients=CALLERS, requests=REQUESTS).rate
    # What came before the counted ones is a tenth more.
    decision = (processor_seconds(bench.server_pid) - began) / (1.1 * REQUESTS)
    parts = [
        open_loop(bench, target, name, rate=capacity * times, seconds=options.seconds, seed=number, heed=options.heed)
        for name, times in (("nominal", 1.0), ("overload", options.times), ("after", 1.0))
    ]
    show(console, f"round {number + 1}: capacity {capacity:.0f} decisions/s", parts)
    nominal, overload, after = parts
    useful = overload.answered["count"] * decision
    sent = overload.answered["count"] + overload.turned_away
    ratios = {
        "goodput ÷ capacity": overload.goodput / capacity,
        "answered p99 ÷ nominal": overload.answered["p99_ms"] / max(0.01, nominal.answered["p99_ms"]),
        "refused p99 ms": overload.refused["p99_ms"],
        "resident ÷ nominal": overload.resident / nominal.resident,
        "p99 after ÷ nominal": after.answered["p99_ms"] / max(0.01, nominal.answered["p99_ms"]),
        "failed": float(sum(part.failed["count"] for part in parts)),
        "ms a decision": 1000 * decision,
        "ms a request turned away": 1000 * (overload.worked - useful) / max(1.0, overload.turned_away),
        "generator's ms a request": 1000 * overload.generator / sent,
        "of the work for answers": useful / overload.worked,
    }
    return {"capacity": capacity, "parts": {part.name: vars_of(part) for part in parts}, "ratios": ratios}


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and its children."""
    listed = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in listed]
    return sum(int(field) for found in fields for field in found[11:13]) / os.sysconf("SC_CLK_TCK")


def open_loop(
    bench: Bench, target: Target, name: str, *, rate: float, seconds: float, seed: int, heed: bool = False
) -> Part:
    command = [str(bench.loadgen), "-target", target.kind, "-socket", str(target.socket), "-path", target.path]
    command += ["-payloads", str(target.payloads), "-clients", str(CONNECTIONS), "-token", target.token]
    command += ["-warmup", "50", "-rate", str(rate), "-seconds", str(seconds), "-seed", str(seed + 1)]
    command += ["-heed"] if heed else []
    began = processor_seconds(bench.server_pid)
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    worked = processor_seconds(bench.server_pid) - began
    return Part(name=name, resident=rig.resident_mebibytes(bench.server_pid), worked=worked, **said)


def show(console: Console, title: str, parts: list[Part]) -> None:
    table = Table(title=title)
    columns = (
        "part",
        "offered/s",
        "answered/s",
        "p50 ms",
        "p99 ms",
        "refused/s",
        "p50 ms",
        "p99 ms",
        "held",
        "failed",
        "late",
    )
    for heading in columns:
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part in parts:
        table.add_row(
            part.name,
            f"{part.offered / part.seconds:.0f}",
            f"{part.goodput:.0f}",
            f"{part.answered['p50_ms']:.1f}",
            f"{part.answered['p99_ms']:.1f}",
            f"{part.refused['count'] / part.seconds:.0f}",
            f"{part.refused['p50_ms']:.1f}",
            f"{part.refused['p99_ms']:.1f}",
            f"{part.held}",
            f"{part.failed['count']:.0f} {part.first_failure[-40:]}",
            f"{part.behind_ms:.0f} ms",
        )
    console.print(table)


def vars_of(part: Part) -> dict[str, Any]:
    return {name: getattr(part, name) for name in Part.__slots__}


if __name__ == "__main__":
    main()
