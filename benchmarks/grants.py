"""What execution authority adds to a decision: grants that are issued with it, and their redemption.

    python -m benchmarks.grants [--rounds 400]

Four targets, called in turns in one run: `decide` is a control plane that gives no grants, `issue` one that does,
`at once` the same with the redemption in the same call (`redemption_key`), as the guard asks for it, and `redeem` with
the redemption in a second call. Each is measured right after a decision of the same
process that is not, so that none of them is colder than the others. Beside them, `verify` is what a tool server spends
that asks nobody, and `empty` a call that reads a few keys from memory and writes nothing: what any second call costs,
whatever it does. Ratios are of medians of the same run. Bar: issue and redeem add at most a quarter to the median.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aisecops.v1 import execution_service_pb2 as api
from aisecops_client import Client, PlanBuilder
from aisecops_grant.verifier import GrantKeys, GrantVerifier
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.bootstrap import control_plane
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.decisions.decision import Decision
from aisecops_server.domain.documents.input_document import Circumstances
from aisecops_server.settings import Settings, load
from aisecops_server.usecases.decisions.controls import Asked, Commitment

from benchmarks import rig

AGENT = "spiffe://corp.example/agent/support-assistant"
ARGUMENTS = {"ticket_id": "T-4711"}
BAR = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what grants add to a decision.")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--serve", choices=["with", "without"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(_serve(grants=options.serve == "with"))
    else:
        _measure(options.rounds)


def _measure(rounds: int) -> None:
    print(rig.machine())
    with tempfile.TemporaryDirectory(prefix="aisecops-bench-") as directory:
        scratch = Path(directory)
        create_policy_repository(scratch / "policy", at_seconds=1)
        with _Running(scratch, "without") as plain, _Running(scratch, "with") as granting:
            _report(_timed(plain, granting, rounds))


def _timed(plain: Settings, granting: Settings, rounds: int) -> dict[str, list[float]]:
    with _client(plain) as without, _client(granting) as client:
        verifier = GrantVerifier(GrantKeys(client.grant_keys()), server="tickets")

        def redeemed() -> None:
            [grant] = client.decide(_plan()).grants
            client.redeem(
                api.RedeemRequest(
                    token=grant.token,
                    redemption_key=secrets.token_hex(16),
                    tool=grant.tool,
                    arguments_sha256=grant.arguments_sha256,
                )
            )

        def used() -> None:
            [grant] = client.decide(_plan(), redemption_key=secrets.token_hex(16)).grants
            if not grant.redeemed:
                raise SystemExit("the grant was not used up with its decision")

        calls: dict[str, tuple[Client, Callable[[], object]]] = {
            "decide": (without, lambda: without.decide(_plan())),
            "issue": (client, lambda: client.decide(_plan())),
            "at once": (client, used),
            "redeem": (client, redeemed),
            "empty": (client, client.grant_keys),
        }
        taken: dict[str, list[float]] = {name: [] for name in (*calls, "verify")}
        names = list(calls)
        for at in range(-20, rounds):
            shift = at % len(names)
            for name in (*names[shift:], *names[:shift]):
                warmed, call = calls[name]
                warmed.decide(_plan())
                _time(taken[name], call, kept=at >= 0)
            token = client.decide(_plan()).grants[0].token
            _time(
                taken["verify"],
                lambda token=token: verifier.verify(token, tool="tickets/read", arguments=ARGUMENTS, agent_id=AGENT),
                kept=at >= 0,
            )
    return taken


def _time(taken: list[float], call: Callable[[], object], *, kept: bool) -> None:
    began = time.perf_counter()
    call()
    if kept:
        taken.append(time.perf_counter() - began)


def _report(taken: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(times) * 1000 for name, times in taken.items()}
    for name, median in medians.items():
        print(f"{name:<8} p50 {median:.3f} ms")
    base = medians["decide"]
    issue, at_once, online = (medians[name] / base - 1 for name in ("issue", "at once", "redeem"))
    offline = (medians["issue"] + medians["verify"]) / base - 1
    for what, added in (
        ("issue alone", issue),
        ("issue, redeemed in the same call", at_once),
        ("issue, verified by the tool server", offline),
        ("issue, redeemed in a call of its own", online),
    ):
        print(f"{what} adds {added:+.0%} to the p50 of a decision ({'within' if added <= BAR else 'above'} {BAR:.0%})")
    second = medians["redeem"] - medians["issue"]
    print(
        f"a redemption of its own is {second:.3f} ms, of which {medians['empty']:.3f} ms are a call that does nothing"
    )


class _Running:
    """One control plane in a process of its own."""

    def __init__(self, scratch: Path, grants: str) -> None:
        self.settings = Settings(state_dir=scratch / grants, repository=str(scratch / "policy"))
        opa = os.environ.get("AISECOPS_OPA") or shutil.which("opa") or "no opa on PATH"
        environment = {
            **os.environ,
            "AISECOPS_STATE_DIR": str(self.settings.state_dir),
            "AISECOPS_REPOSITORY": self.settings.repository,
            "AISECOPS_ENGINE_PATH": str(opa),
            "AISECOPS_DEADLINE_MILLISECONDS": "10000",
        }
        self.log = (scratch / f"{grants}.log").open("wb")
        self.process = rig.running(rig.python("-m", "benchmarks.grants", "--serve", grants), environment, self.log)

    def __enter__(self) -> Settings:
        self.process.__enter__()
        rig.wait_for_socket(self.settings.socket)
        return self.settings

    def __exit__(self, *error: object) -> None:
        self.process.__exit__(None, None, None)
        self.log.close()


class _NoGrants:
    """Stands where grants are given, and gives none: the control plane as it would be without them."""

    async def facts(self, _asked: Asked, known: Circumstances) -> Circumstances:
        return known

    async def commitment(self, _asked: Asked, _decision: Decision) -> Commitment:
        return Commitment()


async def _serve(*, grants: bool) -> None:
    if not grants:
        control_plane.GrantControl = lambda *_settings: _NoGrants()
    async with serving(load({}, os.environ).settings):
        await asyncio.Event().wait()


def _client(settings: Settings) -> Client:
    token = issuer(settings).mint(AGENT, [Role.AGENT], seconds=3600)
    client = Client.connect(f"unix:{settings.socket}", token)
    client.timeout_seconds = 60.0
    return client


def _plan() -> PlanBuilder:
    plan = PlanBuilder(intent="summarise a ticket", environment="production")
    prompt = plan.source("user_prompt", "Please summarise ticket T-4711.")
    plan.step("tickets/read", ARGUMENTS, influenced_by=[prompt])
    return plan


if __name__ == "__main__":
    main()
