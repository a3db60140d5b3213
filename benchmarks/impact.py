"""What an impact report costs beside the replay that it stands on: both over the same decisions, in turn, in one run.

A round is one raw replay of a working copy against its base, and one impact report of the same change with its gates,
samples explained and cost measured as asked for. Each begins without anything remembered of the one before. Told are
the medians of wall and processor time of whole commands, and the ratio of each pair.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.history import record

_LIMIT = ("amount_over: 1000\n", "amount_over: 5000\n")
_SINCE = "500w"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--decisions", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", default="3")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="impact-") as directory:
        root = Path(directory)
        settings = asyncio.run(record(root, asked.traces, documents=asked.decisions))
        policy, state = root / "policy", settings.state_dir
        table = policy / "data" / "approvals.yaml"
        table.write_text(table.read_text(encoding="utf-8").replace(*_LIMIT), encoding="utf-8")
        lines = {
            "replay": ["replay", "run", "--working-copy", str(policy), "--baseline", "main", "--local"],
            "impact": ["policy", "impact", str(policy), "--base", "HEAD", "--local", "--since", _SINCE],
        }
        lines["impact, no samples, no cost"] = [*lines["impact"], "--samples", "0", "--no-cost"]
        lines["impact"] += ["--samples", asked.samples]
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
        for _ in range(asked.rounds):
            for name, line in lines.items():
                shutil.rmtree(state / "replay", ignore_errors=True)
                found[name].append(_timed(line, state, policy))
    for name, times in found.items():
        wall, used = (statistics.median(each[at] for each in times) for at in (0, 1))
        ratios = [mine[0] / raw[0] for mine, raw in zip(times, found["replay"], strict=True)]
        spread = f"[{min(ratios):.2f}..{max(ratios):.2f}]"
        print(f"{name}: {wall:.1f} s wall, {used:.1f} s processor, {statistics.median(ratios):.2f} {spread} × replay")


def _timed(line: list[str], state: Path, policy: Path) -> tuple[float, float]:
    """Return the wall and processor time of a command with everything that it started."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(state.parent),
        "AISECOPS_STATE_DIR": str(state),
        "AISECOPS_REPOSITORY": str(policy),
        "AISECOPS_ENGINE_PATH": os.environ["AISECOPS_OPA"],
        "AISECOPS_DEADLINE_MILLISECONDS": "10000",
    }
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "aisecops_server", *line, "-o", "json"],
        env=environment,
        capture_output=True,
        check=False,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 5):
        raise SystemExit(done.stderr.decode())
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
