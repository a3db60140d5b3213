"""What the log costs a decision, how fast it proves and how fast it is verified, each as a ratio or a rate of one
run.

python -m benchmarks.log_bars --events 1000000

The share of the log is its own durable append, measured with as many callers as the decisions it is compared with, on
the same disk and in turns with them. Proofs are of random events of a log of that size, to a checkpoint of all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aisecops_client import AsyncClient, PlanBuilder
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog, open_log, open_log_read_only
from aisecops_server.domain.log.merkle import is_included
from aisecops_server.domain.log.record import ChangeRecord

from benchmarks.event_log import Traffic, fill, quantile
from tests.integration.api.real import running, settings_in
from tests.scenes.log.records import Records

CALLERS = 32
ROUNDS = 3
PROOFS = 2_000
_SMALL = 256


async def _timed(callers: int, seconds: float, call: Callable[[], Awaitable[object]]) -> list[float]:
    """Return how long each call took, with ``callers`` that each wait for their answer."""
    spent: list[float] = []
    until = time.perf_counter() + seconds

    async def caller() -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            await call()
            spent.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return spent


async def share(folder: Path, seconds: float) -> dict[str, object]:
    """Return the p50 of a decision and of its append, round by round."""
    traffic, rounds = Traffic(1, prefix="share-"), []
    log = open_log(folder / "beside" / "audit.db")
    async with running(settings_in(folder / "plane")) as (_, client):
        for _ in range(ROUNDS):
            decisions = await _timed(CALLERS, seconds, lambda: _decide(client))
            appends = await _timed(CALLERS, seconds, lambda: log.append(traffic.one()))
            rounds.append((quantile(decisions, 0.5), quantile(appends, 0.5)))
    await log.close()
    return {
        "decide_p50_ms": [round(decide, 1) for decide, _ in rounds],
        "append_p50_ms": [round(append, 1) for _, append in rounds],
        "append_share_of_decide": round(statistics.median(append / decide for decide, append in rounds), 3),
    }


async def _decide(client: AsyncClient) -> object:
    plan = PlanBuilder(intent="read a ticket", environment="production")
    plan.source("user_prompt", "Please read ticket T-1. " + "It is about a parcel. " * 60)
    plan.step("tickets/read", {"ticket_id": "T-1"})
    return await client.decide(plan)


async def proofs(folder: Path, events: int) -> dict[str, object]:
    """Return how long an inclusion proof takes in a log of so many events."""
    log = open_log(folder / "proofs" / "audit.db")
    make, chance = Records("proof-"), random.Random(1)
    for at in range(0, events, _SMALL):
        small = tuple(make.control_event() for _ in range(min(_SMALL, events - at)))
        await log.append_change(ChangeRecord(small, ()))
    head = await log.head()
    spent = []
    for _ in range(PROOFS):
        index = chance.randrange(head.size)
        began = time.perf_counter()
        path = await log.inclusion(index, size=head.size)
        spent.append((time.perf_counter() - began) * 1000)
    [last] = [event async for event in log.events(from_index=index, follow=False, trace_id="")][:1]
    sound = is_included(last.leaf_hash, index, size=head.size, root=head.root, proof=path)
    await log.close()
    return {
        "events": head.size,
        "proof_p50_ms": round(quantile(spent, 0.5), 3),
        "proof_p99_ms": round(quantile(spent, 0.99), 3),
        "sound": sound,
    }


async def verification(folder: Path, decisions: int) -> dict[str, object]:
    """Return events a second of a whole verification, by the clock and by processor time of all that took part."""
    database = folder / "verified" / "audit.db"
    log: SqliteEventLog = open_log(database)
    await fill(log, decisions)
    await log.close()
    log = open_log_read_only(database)
    began, used = time.perf_counter(), _processor_seconds()
    report = await log.verify()
    seconds, processor = time.perf_counter() - began, _processor_seconds() - used
    await log.close()
    return {
        "events": report.stored.size,
        "verified": report.problem or "ok",
        "events_per_second": round(report.stored.size / seconds),
        "events_per_processor_second": round(report.stored.size / processor),
    }


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


async def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Return all of it, with the load of the machine that it was measured on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Awaitable[dict[str, object]]]] = {
            "share": lambda: share(folder, arguments.seconds),
            "verify": lambda: verification(folder, arguments.decisions),
            "proof": lambda: proofs(folder, arguments.events),
        }
        wanted = {name: part for name, part in parts.items() if arguments.only in (None, name)}
        measured: dict[str, object] = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
        return measured | {name: await part() for name, part in wanted.items()}


def main() -> None:
    """Print what was measured, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="of the log that proofs are made in")
    parser.add_argument("--decisions", type=int, default=50_000, help="of the log that is verified")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    parser.add_argument("--only", choices=("share", "verify", "proof"), help="measure this and nothing else")
    print(json.dumps(asyncio.run(measure(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
