"""What budgets cost: the same plans, decided with and without limits in the policy's tables.

    python -m benchmarks.budgets [--rounds 7] [--requests 400] [--json FILE]

Two control planes on the same plans, measured in turns; ratios are taken within a round and their median counts:

- `off`  the shipped policy, which limits nothing;
- `on`   the same with eight limits that concern every plan: of its agent by minute and day, of its session, of its
         team and tenant by month, of its tool. They never run out, so that both allow the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from aisecops.v1 import decision_service_pb2
from aisecops_client import Client, PlanBuilder
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings
from rich.console import Console

from benchmarks import rig
from benchmarks.decide import DECIDE, show
from benchmarks.rig import Target

AGENT = "spiffe://corp.example/agent/support-assistant"
MUCH = 10**14
SESSIONS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what budgets cost.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=400, help="decisions a round with one client")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console = Console()
    console.print(rig.machine())
    with tempfile.TemporaryDirectory(prefix="aisecops-bench-") as directory, contextlib.ExitStack() as stack:
        scratch = Path(directory)
        loadgen = rig.build_loadgen(scratch)
        plans = rig.write_payloads(scratch / "plans.bin", [_request(at).SerializeToString() for at in range(SESSIONS)])
        targets = [stack.enter_context(_served(scratch, name, plans)) for name in ("off", "on")]
        results = {
            title: show(
                console,
                title,
                rig.in_turns(
                    loadgen, targets, rounds=options.rounds, clients=clients, requests=options.requests * more
                ),
                "off",
            )
            for title, clients, more in (("one client", 1, 1), ("32 clients", 32, 4))
        }
    if options.json:
        options.json.write_text(json.dumps({"machine": rig.machine(), **results}, indent=1))


def _request(at: int) -> decision_service_pb2.DecideRequest:
    plan = PlanBuilder(intent="answer a ticket", environment="production", session_id=f"session-{at}")
    prompt = plan.source("user_prompt", "Read ticket T-4711 and find customer C-12.")
    read = plan.step("tickets/read", {"ticket_id": "T-4711"}, influenced_by=[prompt])
    plan.step("crm/find_customer", {"customer_id": "C-12"}, influenced_by=[prompt], depends_on=[read])
    plan.model_usage("large", input_tokens=1200, output_tokens=80)
    return decision_service_pb2.DecideRequest(plan=plan.build())


@contextlib.contextmanager
def _served(scratch: Path, name: str, plans: Path) -> Iterator[Target]:
    """Serve a policy of its own and yield what to measure."""
    opa = Path(os.environ.get("AISECOPS_OPA") or shutil.which("opa") or "no opa on PATH")
    policy = scratch / name / "policy"
    create_policy_repository(policy, at_seconds=1)
    if name == "on":
        _limit(policy)
    settings = Settings(state_dir=scratch / name / "state", repository=str(policy), engine_path=opa)
    environment = {
        **os.environ,
        "AISECOPS_STATE_DIR": str(settings.state_dir),
        "AISECOPS_REPOSITORY": settings.repository,
        "AISECOPS_ENGINE_PATH": str(opa),
        "AISECOPS_DEADLINE_MILLISECONDS": "10000",
    }
    serve = rig.python("-m", "aisecops_server", "serve")
    with (scratch / f"{name}.log").open("wb") as log, rig.running(serve, environment, log):
        rig.wait_for_socket(settings.socket)
        token = issuer(settings).mint(AGENT, [Role.AGENT], seconds=3600)
        with Client.connect(f"unix:{settings.socket}", token) as client:
            answer = client.decide(_request(0).plan)
        if not answer.allowed or len(answer.decision.budgets) != (8 if name == "on" else 0):
            raise rig.LoadFailedError(f"{name}: the plan is not decided as it should be: {answer.decision}")
        yield Target(name, "grpc", settings.socket, DECIDE, plans, token)


def _limit(policy: Path) -> None:
    path = policy / "data" / "budgets.yaml"
    tables = yaml.safe_load(path.read_text())
    agents = yaml.safe_load((policy / "data" / "agents.yaml").read_text())
    entry = agents[AGENT]
    tables["profiles"][entry["budget"]]["limits"] = {
        "minute": {"calls": MUCH},
        "day": {"calls": MUCH, "tokens": MUCH},
        "session": {"calls": MUCH},
    }
    tables["teams"] = {entry["owner"]: {"limits": {"month": {"micro_usd": MUCH, "tokens": MUCH}}}}
    tables["tenants"] = {entry.get("tenant", "default"): {"limits": {"month": {"micro_usd": MUCH}}}}
    tables["tools"] = {"tickets/read": {"limits": {"day": {"calls": MUCH}}}}
    path.write_text(yaml.safe_dump(tables))
    _git(policy, "commit", "-qam", "Limits")


def _git(policy: Path, *arguments: str) -> None:
    identity: Sequence[str] = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=policy, check=True)


if __name__ == "__main__":
    main()
