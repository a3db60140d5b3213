"""What a coding agent waits for at each use of a tool: the whole program, against bare Python and a bare Decide.

AISECOPS_OPA=... python -m benchmarks.hook [--uses 60]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aisecops_client import PlanBuilder

from tests.integration.frameworks import scene

BAR_MILLISECONDS = 60.0


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uses", type=int, default=60)
    uses = parser.parse_args().uses
    with tempfile.TemporaryDirectory() as folder, scene.plane_in(Path(folder)) as plane:
        token = Path(folder) / "token"
        token.write_text(plane.token)
        script = str(Path(sys.executable).with_name("aisecops"))
        options = ["--token-file", str(token), "--environment", "production", "--memory", f"{folder}/memory"]
        options += ["--socket", str(plane.settings.socket.with_suffix(".http")), "--tool", "read_ticket=tickets/read"]

        def hook(event: dict[str, object]) -> None:
            data = json.dumps({"session_id": "s", **event}).encode()
            done = subprocess.run([script, "hook", *options], input=data, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr

        def use(at: int) -> None:
            hook({"hook_event_name": "PreToolUse", "tool_name": "read_ticket", "tool_input": {"ticket_id": f"T-{at}"}})

        def bare() -> None:
            subprocess.run([sys.executable, "-c", "import json, socket, hashlib"], capture_output=True, check=True)

        def decide(at: int) -> None:
            plan = PlanBuilder(environment="production")
            prompt = plan.source("user_prompt", "Read the tickets.")
            plan.step("tickets/read", {"ticket_id": f"T-{at}"}, influenced_by=[prompt])
            assert plane.agent.decide(plan, redemption_key=f"benchmark-key-{at:08}").allowed

        hook({"hook_event_name": "UserPromptSubmit", "prompt": "Read the tickets."})
        for at in range(5):
            use(at)
            decide(at)
        # Turn and turn about, so that what else the machine does meets all three.
        rows = [
            (timed(lambda: use(at)), timed(bare), timed(lambda: decide(at)))  # noqa: B023 - called at once
            for at in range(5, uses + 5)
        ]
    names = ("aisecops hook", "python with json, socket, hashlib", "Decide by a client that is connected")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        cuts = statistics.quantiles(values, n=20)
        print(f"{name:40} p50 {statistics.median(values):6.1f} ms   p95 {cuts[18]:6.1f} ms   min {min(values):6.1f} ms")
    print(f"bar: p50 <= {BAR_MILLISECONDS:.0f} ms; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
