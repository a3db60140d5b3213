"""What size costs: the same documents decided with 10, 1,000 and 10,000 registered agents and tools.

    python -m benchmarks.policy_scale TRACES [--rounds 7] [--requests 200] [--sizes 10 1000 10000]

`TRACES` is a folder of recorded traces (NAME.otlp.jsonl[.gz]). The shipped policy runs in bare OPA over a Unix socket;
its tables are the shipped ones, filled up with made-up agents and tools to each size and compiled like a bundle's;
a size below theirs leaves them as they are. The floor is a policy that allows everything. All targets are measured in
turns, and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.documents.input_document import Circumstances, build
from aisecops_server.domain.grounding.grounding import ground
from aisecops_server.domain.plans.plan_builder import Fresh, build_plan, plan_hash
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.entrypoints.grpc.plan_codec import draft_of
from rich.console import Console
from rich.table import Table

from benchmarks import rig, workload
from benchmarks.decide import DECISION_PATH, TRIVIAL
from benchmarks.rig import Load, Target

NOW_NS = 1_767_225_600_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the number of agents and tools costs.")
    parser.add_argument("traces", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000, 10_000])
    options = parser.parse_args()
    console = Console()
    console.print(rig.machine())
    with tempfile.TemporaryDirectory(prefix="aisecops-bench-") as held:
        scratch = Path(held)
        loadgen = rig.build_loadgen(scratch)
        payloads = _payloads(scratch, options.traces)
        with _targets(scratch, payloads, options.sizes) as targets:
            loads = rig.in_turns(loadgen, targets, rounds=options.rounds, clients=1, requests=options.requests)
    _show(console, loads, smallest=targets[1].name)


def _payloads(scratch: Path, traces: Path) -> Path:
    load = workload.recorded(traces, limit=600)
    _, chosen = workload.of_size(load, _documents(load), smallest=2_000, largest=4_500)
    print(f"{len(chosen)} documents, median {sorted(map(len, chosen))[len(chosen) // 2]} bytes")
    return rig.write_payloads(scratch / "documents.bin", [b'{"input":' + one + b"}" for one in chosen])


def _documents(load: workload.Workload) -> list[bytes]:
    ids = RandomIds()
    principal = Principal(PrincipalId(load.agent_id), "token", frozenset({Role.AGENT}))
    circumstances = Circumstances(Mode.ENFORCE, principal, NOW_NS)
    plans = [build_plan(draft_of(request), Fresh(ids.trace_id(), ids.plan_id())) for request in load.requests]
    return [
        build(plan, plan_hash=plan_hash(plan, principal.id), grounding=ground(plan), circumstances=circumstances)
        for plan in plans
    ]


@contextlib.contextmanager
def _targets(scratch: Path, payloads: Path, sizes: Sequence[int]) -> Iterator[list[Target]]:
    policy = shipped_policy()
    trivial = scratch / "trivial.rego"
    trivial.write_text(TRIVIAL)
    with contextlib.ExitStack() as stack:
        names = {"trivial": (str(trivial),)}
        names |= {f"{size:,} agents and tools": _written(scratch / f"policy-{size}", policy, size) for size in sizes}
        opa = Path(os.environ.get("AISECOPS_OPA") or shutil.which("opa") or "no opa on PATH")
        yield [
            Target(
                name, "rest", stack.enter_context(rig.engine(opa, scratch, f"e{at}", *files)), DECISION_PATH, payloads
            )
            for at, (name, files) in enumerate(names.items())
        ]


def _written(into: Path, policy: Mapping[str, bytes], size: int) -> tuple[str, str]:
    """Write the policy with tables of a size and return what the engine is to load."""
    for name, content in policy.items():
        if name.startswith("rego/aisecops/") and name.endswith(".rego") and not name.endswith("_test.rego"):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(content)
    data: Any = {
        PurePosixPath(name).stem: parse_yaml(name, content)
        for name, content in policy.items()
        if name.startswith("data/")
    }
    (into / "data.json").write_text(json.dumps({"tables": compile_tables(_filled(data, size))}))
    return str(into / "rego"), str(into / "data.json")


def _filled(data: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the tables with made-up copies of an agent and of a tool, and a capability that opens the latter."""
    agent, tool = (next(iter(data[table].values())) for table in ("agents", "tools"))
    server = next(iter(data["tools"])).partition("/")[0]
    tools = {f"{server}/made_up_{number}": tool for number in range(len(data["tools"]), size)}
    agents = {f"spiffe://corp.example/agent/made-up-{number}": agent for number in range(len(data["agents"]), size)}
    made_up = {"made_up": {**next(iter(data["capabilities"].values())), "tools": list(tools)}} if tools else {}
    return {
        **data,
        "agents": data["agents"] | agents,
        "tools": data["tools"] | tools,
        "capabilities": data["capabilities"] | made_up,
    }


def _show(console: Console, loads: Mapping[str, Sequence[Load]], *, smallest: str) -> None:
    table = Table(title="one client")
    for heading in ("target", "p50 ms", "p99 ms", "p50 ÷ trivial", "p50 ÷ smallest"):
        table.add_column(heading, justify="left" if heading == "target" else "right")
    for name, rounds in loads.items():
        ratios = [rig.ratios(loads, name, to=base, of="p50_us") for base in ("trivial", smallest)]
        table.add_row(
            name,
            f"{rig.median([one.p50_us for one in rounds]) / 1000:.2f}",
            f"{rig.median([one.p99_us for one in rounds]) / 1000:.2f}",
            *(f"{rig.median(each):.2f} [{min(each):.2f}..{max(each):.2f}]" for each in ratios),
        )
    console.print(table)


if __name__ == "__main__":
    main()
