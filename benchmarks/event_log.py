"""How fast the audit log appends, lists and verifies.

    python -m benchmarks.event_log --events 1000000 --file KEEP.db

Times are of this machine at this moment; what they are compared with stands beside them in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import apsw
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog, open_log
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.log.record import DecisionRecord, TraceFilter
from aisecops_server.domain.log.trace_figures import EFFECTS
from aisecops_server.domain.traces.trace_facets import FACETS
from aisecops_server.domain.traces.trace_query import read_query
from rich.console import Console
from rich.table import Table

from tests.scenes.log.records import START_NS, Records

EVENTS_PER_DECISION = 6
PAGE = 50
EVENTS_PER_READ = 256
SEED = 20_26

AGENTS = [f"spiffe://example/agent/{number}" for number in range(500)]
TOOLS = [f"server-{number % 40}/tool-{number}" for number in range(400)]
RULES = [f"category.rule_{number}" for number in range(30)]
REVISIONS = [f"{number:040x}" for number in range(20)]

FILTERS: dict[str, TraceFilter] = {
    "no filter": TraceFilter(),
    "common outcome": TraceFilter(outcome="ALLOW"),
    "rare rule": TraceFilter(rule="rare.rule"),
    "rare rule, common outcome": TraceFilter(rule="rare.rule", outcome="DENY"),
    "rare rule, other outcome (no match)": TraceFilter(rule="rare.rule", outcome="ALLOW"),
    "two common that never meet (no match)": TraceFilter(tool="odd/tool", trust="trusted"),
    "never seen agent": TraceFilter(agent_id="spiffe://example/agent/none"),
    "one agent, oldest week": TraceFilter(agent_id=AGENTS[3], to_ns=START_NS + 10**9),
    "time window in the middle": TraceFilter(from_ns=START_NS + 40 * 10**9, to_ns=START_NS + 41 * 10**9),
    "empty time window": TraceFilter(from_ns=1, to_ns=2),
    "old revision": TraceFilter(revision=REVISIONS[0]),
    "beginning of rare names (no match)": read_query("tool:odd/* trust:trusted").narrow,
    "beginning of every agent": read_query("agent:spiffe://example/*").narrow,
    "beginning of every agent, no tool (no match)": read_query("agent:spiffe://example/* -tool:*").narrow,
    "beginnings that never meet (no match)": read_query(
        "agent:spiffe://example/* tool:server-1* mode:dry-run -rule:* plans:>1"
    ).narrow,
    "less trust, no rule": read_query("trust:<internal -rule:*").narrow,
    "a number that none has (no match)": read_query("plans:>1").narrow,
    "a number, a beginning, less trust (no match)": read_query("plans:>1 tool:server-1* trust:<internal").narrow,
    "what changes something": read_query("effect:changing").narrow,
    "steps that none has (no match)": read_query("steps:>100").narrow,
    "cost, tokens, a budget (no match)": read_query("cost:>0.001 tokens:>1m budget:>80%").narrow,
    "slow, and a budget (no match)": read_query("lasted:>1h budget:>80%").narrow,
    "all filters": TraceFilter(
        agent_id=AGENTS[5],
        outcome="ALLOW",
        tool="odd/tool",
        rule=RULES[1],
        trust="external",
        revision=REVISIONS[7],
        mode="ENFORCE",
        from_ns=START_NS,
        to_ns=START_NS + 10**15,
    ),
}

FACETED = (
    "",
    "outcome:blocked",
    "rule:rare.rule",
    "tool:server-3/tool-3",
    "agent:spiffe://example/agent/3*",
    "trust:<internal -rule:*",
    "plans:>1",
    "effect:changing steps:>1",
    "mode:dry-run outcome:escalated tool:odd/tool rule:category.*",
    "outcome:allowed trust:external mode:enforce tool:server-1* rule:category.rule_1* agent:spiffe://* revision:0*",
)


class Traffic:
    """Decisions as a busy system makes them: 3 kB documents, many agents, a few rules that fire often."""

    def __init__(self, total: int, prefix: str = "") -> None:
        self.total = max(total, 1)
        self.random = random.Random(SEED)
        self.records = Records(prefix)
        self.filler = "x" * 2800
        self.made = 0

    def one(self) -> DecisionRecord:
        number, self.made = self.made, self.made + 1
        outcome = self.random.choices(list(Outcome), (80, 15, 5))[0]
        rules = self.random.sample(RULES, self.random.randint(0 if outcome is Outcome.ALLOW else 1, 3))
        rare = number % 20_000 == 17
        odd = number % 2 == 1
        return self.records.record(
            agent=self.random.choice(AGENTS),
            outcome=Outcome.DENY if rare else outcome,
            mode=Mode.ENFORCE if self.random.random() < 0.9 else Mode.DRY_RUN,
            tools=[*self.random.sample(TOOLS, 2), "odd/tool" if odd else "even/tool"],
            rules=[*rules, "rare.rule"] if rare else rules,
            trust=self.random.choice(("internal", "external", "unverified")) if odd else "trusted",
            revision=REVISIONS[number * len(REVISIONS) // self.total % len(REVISIONS)],
            document=canonical_bytes({"number": number, "filler": self.filler}),
            details={"explanation": "y" * 600, "effects": self.random.sample(EFFECTS, 2)},
        )


async def fill(log: SqliteEventLog, decisions: int) -> tuple[float, list[float]]:
    """Append until the log holds ``decisions``; return decisions a second and seconds a batch."""
    there = (await log.head()).size // EVENTS_PER_DECISION
    traffic = Traffic(decisions, prefix=f"{there}-")
    spent, times = 0.0, []
    for at in range(there, decisions, 512):
        batch = [traffic.one() for _ in range(min(512, decisions - at))]
        began = time.perf_counter()
        await log.append_many(batch)
        times.append(time.perf_counter() - began)
        spent += times[-1]
    return (decisions - there) / spent if spent else 0.0, times


async def append_rate(log: SqliteEventLog, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Return decisions a second and each one's latency, with ``clients`` that wait for their receipts."""
    # Made before the clock starts: what is measured is the log.
    traffic = Traffic(1, prefix=f"rate-{clients}-{time.time_ns()}-")
    ready = [traffic.one() for _ in range(int(seconds * 6000))]
    latencies: list[float] = []
    began = time.perf_counter()

    async def client() -> None:
        while ready and time.perf_counter() - began < seconds:
            record = ready.pop()
            sent = time.perf_counter()
            await log.append(record)
            latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(latencies) / (time.perf_counter() - began), latencies


async def timed(call: Callable[[], Awaitable[object]], times: int = 15) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        await call()
        found.append((time.perf_counter() - began) * 1000)
    return found


async def pages(log: SqliteEventLog) -> list[tuple[str, int, list[float]]]:
    rows = []
    for name, narrow in FILTERS.items():
        first = await log.traces(narrow, page_size=PAGE, page_token="")
        rows.append((name, len(first.traces), await timed(_page(log, narrow, ""))))
        if first.next_token:
            rows.append((f"{name}, 2nd page", PAGE, await timed(_page(log, narrow, first.next_token))))
    for query in FACETED:
        narrow = read_query(query).narrow
        found = await log.facets(narrow, FACETS)
        rows.append((f"facets: {query or 'no filter'}", found.counted, await timed(_facets(log, narrow))))
    size = (await log.head()).size
    for name, start in (("events, oldest", 0), ("events, middle", size // 2)):
        rows.append((name, EVENTS_PER_READ, await timed(_events(log, start))))
    trace_id = (await log.traces(TraceFilter(), page_size=1, page_token="")).traces[0].trace_id
    rows.append(("one trace", 1, await timed(lambda: log.trace(trace_id))))
    return rows


def _facets(log: SqliteEventLog, narrow: TraceFilter) -> Callable[[], Awaitable[object]]:
    return lambda: log.facets(narrow, FACETS)


def _page(log: SqliteEventLog, narrow: TraceFilter, token: str) -> Callable[[], Awaitable[object]]:
    return lambda: log.traces(narrow, page_size=PAGE, page_token=token)


def _events(log: SqliteEventLog, start: int) -> Callable[[], Awaitable[object]]:
    async def read() -> object:
        taken = []
        async for event in log.events(from_index=start, follow=False, trace_id=""):
            taken.append(event)
            if len(taken) == EVENTS_PER_READ:
                break
        return taken

    return read


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def disk_sync_milliseconds(folder: Path) -> float:
    """What the disk alone takes for 4 KiB and a synchronisation: the floor of every durable append."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


async def measure(arguments: argparse.Namespace, file: Path) -> dict[str, object]:
    console = Console(stderr=True)
    log = open_log(file)
    results: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "software": f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}",
        "sync_ms": disk_sync_milliseconds(file.parent),
    }
    console.print(f"{results['machine']} · {results['software']} · a bare 4 KiB sync takes {results['sync_ms']:.2f} ms")
    rate, times = await fill(log, arguments.events // EVENTS_PER_DECISION)
    results["bulk_decisions_per_second"] = rate
    results["bulk_slowest_batch_ms"] = max(times, default=0) * 1000
    results["bytes_per_event"] = (await asyncio.to_thread(file.stat)).st_size / max((await log.head()).size, 1)
    appends = Table("clients", "decisions/s", "events/s", "p50 ms", "p99 ms", title="Append, one durable receipt each")
    results["append"] = {}
    for clients in (1, 32, 256):
        rate, latencies = await append_rate(log, clients, arguments.seconds)
        middle, tail = quantile(latencies, 0.5) * 1000, quantile(latencies, 0.99) * 1000
        results["append"][clients] = {"per_second": rate, "p50_ms": middle, "p99_ms": tail}
        appends.add_row(
            str(clients), f"{rate:,.0f}", f"{rate * EVENTS_PER_DECISION:,.0f}", f"{middle:.2f}", f"{tail:.2f}"
        )
    size = (await log.head()).size
    lists = Table("page", "rows", "p50 ms", "worst ms", title=f"Pages of {PAGE} on {size:,} events")
    results["pages"] = {}
    for name, found, times in await pages(log):
        results["pages"][name] = {"p50_ms": statistics.median(times), "worst_ms": max(times)}
        lists.add_row(name, str(found), f"{statistics.median(times):.2f}", f"{max(times):.2f}")
    began = time.perf_counter()
    report = await log.verify()
    results["verify_events_per_second"] = size / (time.perf_counter() - began)
    results["verified"] = report.ok or report.problem
    began = time.perf_counter()
    await log.close()
    results["close_seconds"] = time.perf_counter() - began
    began = time.perf_counter()
    await open_log(file).close()
    results["open_seconds"] = time.perf_counter() - began
    console.print(appends, lists)
    for name in ("bulk_decisions_per_second", "verify_events_per_second", "bytes_per_event", "open_seconds"):
        console.print(f"{name.replace('_', ' ')}: {results[name]:,.2f}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of appending for each number of clients")
    parser.add_argument("--file", type=Path, help="keep the log here, and go on with it next time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measure(arguments, arguments.file or Path(folder) / "audit.db"))
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
