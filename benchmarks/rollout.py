"""What a rollout costs, how fast a commit decides, and whether activations lose decisions.

    python -m benchmarks.rollout [--rounds 400] [--activations 200]

One control plane in a process of its own decides in blocks, in turns `alone` and with a candidate in `shadow` that sees
every decision; the ratio is of medians of the same run.
Then one that polls once a second: from the end of a commit until its revision is live, by polling and by
`Sync`. Last, activations back and forth while four clients decide without a pause: what failed, and what the log lacks.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from aisecops.v1 import decision_pb2
from aisecops_client import Client, PlanBuilder
from aisecops_client.errors import AisecopsClientError
from aisecops_client.rollouts import Rollouts
from aisecops_server.adapters.git.create import commit_files, create_policy_repository
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings, load

from benchmarks import rig

AGENT = "spiffe://corp.example/agent/support-assistant"
MODES = "data/modes.yaml"
CLIENTS = 4
BLOCKS = 8
SHADOW_BAR, POLL_BAR, SYNC_BAR = 0.10, 2.0, 0.3
_PAUSE_SECONDS = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what rollouts and activations cost.")
    parser.add_argument("--rounds", type=int, default=1600)
    parser.add_argument("--commits", type=int, default=10)
    parser.add_argument("--activations", type=int, default=200)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve())
        return
    print(rig.machine())
    with tempfile.TemporaryDirectory(prefix="aisecops-bench-") as directory:
        scratch = Path(directory)
        policy = scratch / "policy"
        create_policy_repository(policy, at_seconds=1)
        _shadow(scratch, options.rounds)
        with _Running(scratch, "commits") as settings:
            _commits(settings, policy, options.commits)
            _activations(settings, policy, options.activations)


def _shadow(scratch: Path, rounds: int) -> None:
    """Decide in blocks, with a shadow and without, in turns on one control plane: the shadow works beside its own."""
    policy = scratch / "policy"
    taken: dict[bool, list[float]] = {False: [], True: []}
    compared = 0
    with _Running(scratch, "shadow") as settings:
        candidate = _commit(policy, "A candidate")
        with _client(settings) as client, _client(settings, Role.SECURITY) as security:
            rollouts = Rollouts(security)
            for block in range(2 * BLOCKS + 1):
                watched = bool(block % 2)
                if watched:
                    rollouts.start(candidate, reason="to be measured")
                for at in range(-20, rounds // BLOCKS):
                    began = time.perf_counter()
                    client.decide(_plan())
                    if at >= 0 and block:
                        taken[watched].append(time.perf_counter() - began)
                if watched:
                    compared += rollouts.abort(reason="measured").compared
    medians = {watched: statistics.median(times) * 1000 for watched, times in taken.items()}
    tails = {watched: statistics.quantiles(times, n=100)[98] * 1000 for watched, times in taken.items()}
    added = medians[True] / medians[False] - 1
    print(f"alone    p50 {medians[False]:.3f} ms, p99 {tails[False]:.3f} ms")
    print(f"shadow   p50 {medians[True]:.3f} ms, p99 {tails[True]:.3f} ms, {compared} compared")
    print(f"a shadow adds {added:+.1%} to the p50 of a decision ({_within(added, SHADOW_BAR)} {SHADOW_BAR:.0%})")


def _commits(settings: Settings, policy: Path, commits: int) -> None:
    polled, asked = [], []
    with _client(settings, Role.SECURITY) as client:
        for number in range(commits):
            made = _commit(policy, f"Polled {number}")
            began = time.perf_counter()
            _until_live(client, made)
            polled.append(time.perf_counter() - began)
            made = _commit(policy, f"Asked {number}")
            began = time.perf_counter()
            status = client.sync()
            asked.append(time.perf_counter() - began)
            if status.live.commit != made:
                raise SystemExit("the commit is not live")
    for name, taken, bar in (("polling at 1 s", polled, POLL_BAR), ("Sync", asked, SYNC_BAR)):
        print(
            f"commit to serving with {name}: median {statistics.median(taken) * 1000:.0f} ms, "
            f"worst {max(taken) * 1000:.0f} ms ({_within(statistics.median(taken), bar)} {bar * 1000:.0f} ms)"
        )


def _activations(settings: Settings, policy: Path, count: int) -> None:
    revisions = [_commit(policy, "One"), _commit(policy, "Other")]
    outcomes: Counter[str] = Counter()
    decided: list[str] = []
    done = threading.Event()

    def decide() -> None:
        with _client(settings) as client:
            while not done.is_set():
                try:
                    answer = client.decide(_plan())
                except AisecopsClientError as error:
                    outcomes[f"failed: {error}"] += 1
                else:
                    outcomes[decision_pb2.Outcome.Name(answer.decision.outcome)] += 1
                    decided.append(answer.decision.decision_id)

    deciders = [threading.Thread(target=decide) for _ in range(CLIENTS)]
    with _client(settings, Role.SECURITY) as client:
        for decider in deciders:
            decider.start()
        began = time.perf_counter()
        for number in range(count):
            client.activate(revisions[number % 2], reason="to be measured")
        seconds = time.perf_counter() - began
        done.set()
        for decider in deciders:
            decider.join()
        lost = 0
        for decision_id in decided[:: max(1, len(decided) // 500)]:
            lost += client.explain(decision_id).decision.decision_id != decision_id
    failed = sum(times for outcome, times in outcomes.items() if outcome != "OUTCOME_ALLOW")
    print(f"{count} activations in {seconds:.1f} s under {CLIENTS} clients: {dict(outcomes)}")
    print(f"{failed} decisions failed, {lost} of those looked up were lost ({_within(failed + lost, 0)} 0)")


def _within(value: float, bar: float) -> str:
    return "within" if value <= bar else "above"


def _until_live(client: Client, commit: str) -> None:
    while client.bundle_status().live.commit != commit:
        threading.Event().wait(_PAUSE_SECONDS)


def _commit(policy: Path, message: str) -> str:
    text = (policy / MODES).read_bytes() + f"# {message}\n".encode()
    return str(commit_files(policy, {MODES: text}, message=message, at_seconds=2))


class _Running:
    """One control plane in a process of its own."""

    def __init__(self, scratch: Path, name: str) -> None:
        self.settings = Settings(state_dir=scratch / name, repository=str(scratch / "policy"))
        opa = os.environ.get("AISECOPS_OPA") or shutil.which("opa") or "no opa on PATH"
        environment = {
            **os.environ,
            "AISECOPS_STATE_DIR": str(self.settings.state_dir),
            "AISECOPS_REPOSITORY": self.settings.repository,
            "AISECOPS_ENGINE_PATH": str(opa),
            "AISECOPS_DEADLINE_MILLISECONDS": "10000",
            # Only who is measured for it follows by itself.
            "AISECOPS_POLL_SECONDS": "1" if name == "commits" else "3600",
        }
        self.log = (scratch / f"{name}.log").open("wb")
        self.process = rig.running(rig.python("-m", "benchmarks.rollout", "--serve"), environment, self.log)

    def __enter__(self) -> Settings:
        self.process.__enter__()
        rig.wait_for_socket(self.settings.socket)
        return self.settings

    def __exit__(self, *error: object) -> None:
        self.process.__exit__(None, None, None)
        self.log.close()


async def _serve() -> None:
    async with serving(load({}, os.environ).settings):
        await asyncio.Event().wait()


def _client(settings: Settings, role: Role = Role.AGENT) -> Client:
    token = issuer(settings).mint(AGENT, [role], seconds=3600)
    client = Client.connect(f"unix:{settings.socket}", token)
    client.timeout_seconds = 60.0
    return client


def _plan() -> PlanBuilder:
    plan = PlanBuilder(intent="summarise a ticket", environment="production")
    prompt = plan.source("user_prompt", "Please summarise ticket T-4711.")
    plan.step("tickets/read", {"ticket_id": "T-4711"}, influenced_by=[prompt])
    return plan


if __name__ == "__main__":
    main()
