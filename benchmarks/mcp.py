"""What the MCP proxy adds to a call of a real server's tool, the durable decision included.

    python -m benchmarks.mcp [--rounds 150]

One server of the official SDK runs bare and one behind the proxy. Both are called in turns in one run, over standard
input and output, by the same few lines of code. Beside them is what a client of the control plane waits for the same
plan: `decide` without a use of the grant, `at once` with the use in the same call, which is what the proxy asks for,
and `apart` with a redemption of its own. What the proxy adds beyond `at once` is its own. Before each timed call a
decision that is not timed is waited for, because what came of the call before is still being written when its result is
there. Bar: the proxy adds at most 3 ms to the median.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aisecops.v1 import execution_service_pb2 as api
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_server.adapters.git.create import create_policy_repository
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from benchmarks import rig
from tests.scenes.mcp.mcp_scene import ADDED, DESK, DESK_AGENT, amend
from tests.scenes.mcp.mcp_wire import Wire, wired

BAR_MS = 3.0
# A session of the agent may make 200 calls.
WARM = 30


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the MCP proxy adds to a call.")
    parser.add_argument("--rounds", type=int, default=150)
    options = parser.parse_args()
    print(rig.machine())
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        root = Path(folder)
        create_policy_repository(root / "policy", at_seconds=1)
        amend(root, ADDED)
        settings = Settings(state_dir=root / "s", repository=str(root / "policy"))
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(root),
            "AISECOPS_STATE_DIR": str(settings.state_dir),
            "AISECOPS_REPOSITORY": settings.repository,
            "AISECOPS_ENGINE_PATH": os.environ.get("AISECOPS_OPA") or shutil.which("opa") or "no opa on PATH",
            "DESK_JOURNAL": str(root / "journal"),
        }
        with (
            (root / "log").open("wb") as log,
            rig.running(rig.python("-m", "aisecops_server", "serve"), environment, log),
        ):
            rig.wait_for_socket(settings.socket)
            report(asyncio.run(timed(settings, environment, options.rounds)))


async def timed(settings: Settings, environment: dict[str, str], rounds: int) -> dict[str, list[float]]:
    options = ["--agent", DESK_AGENT, "--name", "desk", "--"]
    proxy = [sys.executable, "-m", "aisecops_server", "mcp", "proxy", *options, *DESK]
    token = issuer(settings).mint(DESK_AGENT, (Role.AGENT,))
    async with (
        wired(Line(list(DESK), environment)) as bare,
        wired(Line(proxy, environment)) as proxied,
        AsyncClient.connect(f"unix:{settings.socket}", token) as client,
    ):
        for wire in (bare, proxied):
            await wire.begin()
        calls: dict[str, Callable[[int], Awaitable[Any]]] = {
            "bare": lambda at: called(bare, at),
            "proxied": lambda at: called(proxied, at),
            "decide": lambda _at: client.decide(planned()),
            "at once": lambda _at: at_once(client),
            "apart": lambda _at: apart(client),
        }
        taken: dict[str, list[float]] = {name: [] for name in calls}
        names = list(calls)
        for at in range(-WARM, rounds):
            shift = at % len(names)
            for name in (*names[shift:], *names[:shift]):
                await client.decide(planned())
                began = time.perf_counter()
                await calls[name](at)
                if at >= 0:
                    taken[name].append(time.perf_counter() - began)
        return taken


async def called(wire: Wire, at: int) -> None:
    wire.heard.clear()
    answer = await wire.call(at, "count", to=0)
    assert not answer["result"].get("isError"), answer


def planned() -> PlanBuilder:
    plan = PlanBuilder(environment="production")
    plan.step("desk/count", {"to": 0})
    return plan


async def at_once(client: AsyncClient) -> None:
    [grant] = (await client.decide(planned(), redemption_key=secrets.token_hex(16))).grants
    assert grant.redeemed, "the grant was not used up with its decision"


async def apart(client: AsyncClient) -> None:
    [grant] = (await client.decide(planned())).grants
    await client.redeem(
        api.RedeemRequest(
            token=grant.token,
            redemption_key=secrets.token_hex(16),
            tool=grant.tool,
            arguments_sha256=grant.arguments_sha256,
        )
    )


class Line:
    """A command line as clients have it."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.command, self.args, self.env = words[0], words[1:], environment


def report(taken: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(times) * 1000 for name, times in taken.items()}
    for name, times in taken.items():
        p95 = statistics.quantiles(times, n=20)[-1] * 1000
        print(f"{name:<8} p50 {medians[name]:7.3f} ms   p95 {p95:7.3f} ms   least {min(times) * 1000:7.3f} ms")
    added = medians["proxied"] - medians["bare"]
    ratio = medians["proxied"] / medians["bare"]
    own = added - medians["at once"]
    verdict = "within" if added <= BAR_MS else "above"
    print(f"the proxy adds {added:.2f} ms to the p50 ({ratio:.1f} x), {verdict} {BAR_MS} ms")
    print(f"of it, {medians['at once']:.2f} ms are the decision with the use of its grant, {own:.2f} ms its own")


if __name__ == "__main__":
    main()
