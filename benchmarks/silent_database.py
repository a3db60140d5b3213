"""How long a control plane takes to answer again after its network to PostgreSQL swallowed everything for a while.

    python -m benchmarks.silent_database [--rounds N] [--seconds S] [--busy N]

Two control planes on one database, each over a link of its own, asked without a pause; one or both are cut off. What
is told is the time from when the network is back until each has answered once more: sorted, with its median. Before
that the network is well for as long, beside ``--busy`` processes that take all of a core: how many connections were
given up then, each of them by mistake.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import tempfile
from pathlib import Path

from aisecops_server.adapters.postgres import connection

from tests.fault.test_database_network import FAULTS, scene
from tests.scenes.servers.postgres_servers import PostgresServer, missing, postgres_server


async def measured(server: PostgresServer, rounds: int, seconds: float, busy: int) -> dict[str, list[float]]:
    """Return for each fault how long it took until everybody was answered again."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as root:
        async with scene(server, Path(root)) as at:
            found["given up on a network that is well"] = [await mistakes(busy, rounds * seconds)]
            for _ in range(rounds):
                for fault in FAULTS:
                    if fault.swallowed:
                        found.setdefault(fault.name, []).append(max(await at.through(fault, seconds)))
    return found


async def mistakes(busy: int, seconds: float) -> float:
    """Return how many connections are given up in so many seconds beside so many busy processes."""
    told: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = told.append  # type: ignore[method-assign]
    logger = logging.getLogger(connection.__name__)
    logger.addHandler(listener)
    program = (sys.executable, "-c", "while True: pass")
    others = [await asyncio.create_subprocess_exec(*program) for _ in range(busy)]
    try:
        await asyncio.sleep(seconds)
    finally:
        for other in others:
            other.kill()
            await other.wait()
        logger.removeHandler(listener)
    return len(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--busy", type=int, default=8)
    options = parser.parse_args()
    if why := missing():
        raise SystemExit(why)
    with postgres_server() as server:
        for name, took in asyncio.run(measured(server, options.rounds, options.seconds, options.busy)).items():
            print(
                f"{name}: median {statistics.median(took):.2f}, all " + " ".join(f"{one:.2f}" for one in sorted(took))
            )


if __name__ == "__main__":
    main()
