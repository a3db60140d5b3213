"""What replaying history costs, against the same evaluations asked one by one, and against evaluation alone.

    python -m benchmarks.replay DIRECTORY [--documents 5000] [--rounds 3]

`DIRECTORY` holds recorded agent traces (NAME.otlp.jsonl[.gz]); they are decided once, and repeated under other ids
until there are as many documents as are wanted. Peers, in turns with the replay in the same run: bare OPA over REST,
one call after the other, on the candidate's own policy; and `opa bench`, which is evaluation and nothing else. Both are
asked with documents of that history, on the shipped policy and on a light one that looks at next to nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisecops_server.adapters.git.create import commit_files
from aisecops_server.bootstrap.replay import Replaying, replaying
from aisecops_server.demo.change import TABLE, edited
from aisecops_server.domain.replays.replay import ReplayState, Selection
from aisecops_server.settings import Settings
from aisecops_server.usecases.replays.judge_decisions import Thoroughness
from aisecops_server.usecases.replays.resolve_policy import WantedPolicy
from aisecops_server.usecases.replays.run_replays import ReplayCommand

from benchmarks import history, rig

DECISION = "rego/aisecops/decision/decision.rego"
CALLS = 600
BENCHED = 6
# Four times as many as the shared traces have calls, which are the fewest that are measured.
FOR_LINEAR = 20_000
# The head is the light policy, words stand below it, and the changed table below those.
_CHANGED = "main~2"
# What stands in the place of the rule that decides, and the answer from the plan's steps and nothing else.
ASKED = "decision := screen.decision if {"
LIGHTLY = """decision := light if {
	input.plan.steps
} else := screen.decision if {"""
LIGHT = """
# METADATA
# description: Everything is allowed, to measure with.
light := {
	"outcome": "ALLOW",
	"findings": [],
	"steps": [step |
		some raw in input.plan.steps
		step := {"id": raw.id, "outcome": "ALLOW", "capability": "", "granted_by": "", "grant": ""}
	],
	"obligations": [],
	"sources": [],
	"risk_score_milli": 0,
	"charges": [],
	"mode": "enforce",
	"would_outcome": "ALLOW",
	"approval": null,
	"approved_by": "",
}
"""


@dataclass(slots=True)
class Round:
    """What one replay took: seconds until the early answer and until the end, evaluations, and memory on the way."""

    seconds: float
    early_seconds: float
    compared: int
    evaluated: int
    mebibytes: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Return decisions a second."""
        return self.compared / self.seconds


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description="Measure replay.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print(rig.machine())
    root = Path(tempfile.mkdtemp(prefix="aisecops-bench-"))
    try:
        asyncio.run(_measure(root, asked.directory, documents=asked.documents, rounds=asked.rounds))
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def _measure(root: Path, traces: Path, *, documents: int, rounds: int) -> None:
    whole = await history.record(root / "w", traces, documents=documents)
    commits = candidates(root / "w" / "policy")
    loadgen = rig.build_loadgen(root)
    async with replaying(whole, niceness=0) as made:
        bodies, bundles = await _samples(made, commits)
        await _rates(made, root, loadgen, (bodies, bundles, commits), rounds=rounds)
        await _memory(made, commits)
    await _again(whole, commits)
    if documents < FOR_LINEAR:
        print(f"\nwhether cost is linear is measured from {FOR_LINEAR:,} documents on: --documents {FOR_LINEAR}")
        return
    small = await history.record(root / "q", traces, documents=1)
    candidates(root / "q" / "policy")
    await _linear(whole, small, rounds=rounds)


def candidates(policy: Path) -> dict[str, str]:
    """Commit the candidates, each on top of the other: a changed table, words only, a light policy."""
    table = (policy / TABLE).read_text("utf-8")
    at = 1_790_000_100
    changed = commit_files(policy, {TABLE: edited(table).encode()}, message="limits", at_seconds=at)
    words = commit_files(policy, {TABLE: table.encode() + b"# Words.\n"}, message="words", at_seconds=at + 1)
    rego = (policy / DECISION).read_text("utf-8").replace(ASKED, LIGHTLY) + LIGHT
    light = commit_files(policy, {DECISION: rego.encode()}, message="light", at_seconds=at + 2)
    return {"default": changed, "words": words, "light": light}


async def _samples(made: Replaying, commits: dict[str, str]) -> tuple[list[bytes], dict[str, Path]]:
    until = (await made.history.head()).size
    places = await made.history.places(Selection(), after=None, limit=20_000, until=until)
    chosen = places[:: max(1, len(places) // CALLS)][:CALLS]
    bodies = [decision.document for decision in await made.history.read(chosen)]
    bundles = {}
    for name in ("default", "light"):
        resolved = await made.policies(WantedPolicy(revision=commits[name]))
        assert resolved.bundle is not None
        bundles[name] = resolved.bundle.archive
    return bodies, bundles


async def _rates(
    made: Replaying,
    root: Path,
    loadgen: Path,
    given: tuple[list[bytes], dict[str, Path], dict[str, str]],
    *,
    rounds: int,
) -> None:
    bodies, bundles, commits = given
    opa = Path(os.environ["AISECOPS_OPA"])
    payloads = rig.write_payloads(root / "calls", [b'{"input":' + body + b"}" for body in bodies])
    sizes = sorted(map(len, bodies))
    print(f"documents of {sizes[0]:,} to {sizes[-1]:,} bytes, median {sizes[len(sizes) // 2]:,}")
    cores = os.cpu_count() or 1
    for name, archive in bundles.items():
        bundle = root / f"{name}.tar.gz"
        shutil.copyfile(archive, bundle)
        rest: list[float] = []
        replays: list[Round] = []
        alone: list[float] = []
        with rig.engine(opa, root, name, "--bundle", str(bundle), "--skip-verify") as socket:
            target = rig.Target(name, "rest", socket, "/v1/data/aisecops/decision/decision", payloads)
            await _replay(made, commits[name])
            for _ in range(rounds):
                rest.append((await asyncio.to_thread(rig.load, loadgen, target, clients=1, requests=CALLS)).rate)
                replays.append(await _replay(made, commits[name]))
                alone.append(await asyncio.to_thread(_bench_seconds, opa, bundle, bodies, root))
        rates = [one.rate for one in replays]
        print(f"\n{name} policy, {replays[0].compared:,} documents, {rounds} rounds in turns")
        print(f"  replay                      {_spread(rates)} decisions/s")
        print(f"  REST, one by one            {_spread(rest)} decisions/s")
        print(f"  evaluation alone            {_spread([seconds * 1e6 for seconds in alone])} µs (opa bench)")
        print(f"  replay ÷ REST               {_spread([a / b for a, b in zip(rates, rest, strict=True)])}")
        limits = [cores / seconds for seconds in alone]
        print(f"  replay ÷ (cores ÷ alone)    {_spread([a / b for a, b in zip(rates, limits, strict=True)])}")
        print(f"  early answer, warm engines  {_spread([one.early_seconds for one in replays])} s")


async def _replay(
    made: Replaying,
    commit: str,
    *,
    thoroughness: Thoroughness = Thoroughness.EVERYTHING,
    selection: Selection | None = None,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> Round:
    gc.collect()
    began = time.perf_counter()
    early = 0.0
    command = ReplayCommand(selection or Selection(), WantedPolicy(revision=commit), "bench", None, thoroughness)
    last = started = await made.runs.start(command)
    async for last in made.runs.watch(started.id):
        if last.early is not None and not early:
            early = time.perf_counter() - began
        watch(last.progress.done, last.progress.total)
    seconds = time.perf_counter() - began
    if last.state is not ReplayState.DONE or last.report is None:
        raise rig.LoadFailedError(f"the replay is {last.state}: {last.problem}")
    if not last.report["fidelity"]["trustworthy"]:  # type: ignore[call-overload,index]
        raise rig.LoadFailedError("the replay is not trustworthy, so its figures mean nothing")
    return Round(seconds, early, int(str(last.report["compared"])), last.progress.evaluated)


def _bench_seconds(opa: Path, bundle: Path, bodies: Sequence[bytes], root: Path) -> float:
    """Return the mean of what evaluation of a document takes, by OPA's own benchmark."""
    taken = []
    for body in bodies[:: max(1, len(bodies) // BENCHED)][:BENCHED]:
        (root / "one.json").write_bytes(body)
        command = [str(opa), "bench", "--bundle", str(bundle), "--input", str(root / "one.json"), "--format", "json"]
        command += ["--count", "1", "data.aisecops.decision.decision"]
        done = subprocess.run(command, check=True, capture_output=True, env={"GOGC": "400", "PATH": os.environ["PATH"]})
        found: Any = json.loads(done.stdout)
        taken.append(found["T"] / found["N"] / 1e9)
    return statistics.mean(taken)


async def _memory(made: Replaying, commits: dict[str, str]) -> None:
    seen: list[tuple[float, float]] = []

    def watch(done: int, total: int) -> None:
        if total and done:
            seen.append((done / total, rig.resident_mebibytes(os.getpid())))

    await _replay(made, commits["default"], watch=watch)
    quarters = [max(size for share, size in seen if share <= part) for part in (0.25, 0.5, 0.75, 1.0)]
    print("\nresident memory of the process, without engines, up to each quarter of a pass, MiB")
    print("  " + ", ".join(f"{size:.0f}" for size in quarters))


async def _again(settings: Settings, commits: dict[str, str]) -> None:
    shutil.rmtree(settings.state_dir / "replay", ignore_errors=True)
    async with replaying(settings, niceness=0) as made:
        first = await _replay(made, commits["default"], thoroughness=Thoroughness.AS_NEEDED)
    async with replaying(settings, niceness=0) as made:
        same = await _replay(made, commits["default"], thoroughness=Thoroughness.AS_NEEDED)
        other = await _replay(
            made, commits["default"], thoroughness=Thoroughness.AS_NEEDED, selection=Selection(from_micros=1)
        )
        words = await _replay(made, commits["words"], thoroughness=Thoroughness.AS_NEEDED)
    print("\nonce more, seconds (and how many times faster than the first)")
    print(f"  first, nothing built or warm        {first.seconds:8.3f}  early answer {first.early_seconds:.2f} s")
    print(f"  the same question                   {same.seconds:8.3f}  ({first.seconds / same.seconds:.0f})")
    print(
        f"  another question, same documents    {other.seconds:8.3f}  ({first.seconds / other.seconds:.0f}),"
        f" {other.evaluated} evaluations"
    )
    print(
        f"  a revision that means the same      {words.seconds:8.3f}  ({first.seconds / words.seconds:.0f}),"
        f" {words.evaluated} evaluations"
    )


async def _linear(whole: Settings, small: Settings, *, rounds: int) -> None:
    per: dict[str, list[float]] = {"whole": [], "small": []}
    counts = {}
    async with replaying(whole, niceness=0) as large, replaying(small, niceness=0) as little:
        for made, name in ((large, "whole"), (little, "small")):
            counts[name] = (await _replay(made, _CHANGED)).compared
        for _ in range(rounds):
            for made, name in ((large, "whole"), (little, "small")):
                one = await _replay(made, _CHANGED)
                per[name].append(one.seconds / one.compared * 1e6)
    print("\ncost of a document, µs")
    for name in ("small", "whole"):
        print(f"  {counts[name]:>9,} documents  {_spread(per[name])}")
    print(f"  ratio  {_spread([a / b for a, b in zip(per['whole'], per['small'], strict=True)])}")


def _spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):10.2f} [{ordered[0]:.2f}..{ordered[-1]:.2f}]"


if __name__ == "__main__":
    main()
