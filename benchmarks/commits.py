"""What a commit of decisions takes on PostgreSQL and in a file: round trips, messages, processor time.

    python -m benchmarks.commits [--sizes 1,8,32] [--commits 60] [--json FILE]

The decisions have documents of 3 kB, and agents, tools and rules that the log knows. "Shared" are two replicas that
append by turns, so that each commit finds what the other one appended. Round trips and messages are counted on the
wire, by a relay that is left out when processor time is measured. That of the server is what its kernel says of all its
processes; "ours" is that of this process, in which everything else is made before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aisecops_server.adapters.postgres.event_log import open_log as open_shared
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog, open_log
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.log.record import DecisionRecord
from rich.console import Console
from rich.table import Table

from benchmarks.event_log import AGENTS, RULES, SEED, TOOLS
from tests.scenes.log.records import Records
from tests.scenes.servers.postgres_servers import PostgresServer, postgres_server

# Commits before anything is counted: statements are prepared and blocks of the index read.
_WARM = 24
_HEADER_BYTES = 5
_NANOSECONDS = 1e6


@dataclass
class Relay:
    """Passes connections on to the server at ``target`` and counts what clients say."""

    target: Path
    port: int = 0
    # Of each connection: how many messages, and how often something was said after an answer.
    said: list[list[int]] = field(default_factory=list)

    def reset(self) -> None:
        for counts in self.said:
            counts[:] = [0, 0]

    def busiest(self, count: int) -> tuple[int, int]:
        """Return what was said on so many connections, those of the writers: others only look now and then."""
        messages, times = zip(*sorted(self.said)[-count:], strict=True)
        return sum(messages), sum(times)

    def serve(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self.target))
                threading.Thread(target=self._asked, args=(near, far), daemon=True).start()

    def _asked(self, near: socket.socket, far: socket.socket) -> None:
        left, is_started, counts = b"", False, [0, 0]
        self.said.append(counts)
        turn = threading.Event()
        turn.set()
        answering = threading.Thread(target=self._answered, args=(near, far, turn), daemon=True)
        answering.start()
        with contextlib.suppress(OSError):
            while said := near.recv(1 << 20):
                left += said
                count = 0
                while len(left) >= _HEADER_BYTES:
                    # The first one of a connection has no kind.
                    end = int.from_bytes(left[1:5]) + 1 if is_started else int.from_bytes(left[:4])
                    if len(left) < end:
                        break
                    left, is_started, count = left[end:], True, count + 1
                counts[0] += count
                # What comes in parts is one thing, until something is answered.
                counts[1] += turn.is_set()
                turn.clear()
                far.sendall(said)
        far.close()

    def _answered(self, near: socket.socket, far: socket.socket, turn: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while said := far.recv(1 << 20):
                turn.set()
                near.sendall(said)
        near.close()


@contextlib.contextmanager
def relayed(server: PostgresServer) -> Iterator[Relay]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        relay = Relay(server.socket, listening.getsockname()[1])
        threading.Thread(target=relay.serve, args=(listening,), daemon=True).start()
        yield relay


def server_ns(server: PostgresServer) -> int:
    """Return the processor time of the server and of all that it started, in nanoseconds."""
    assert server.process
    root, total = str(server.process.pid), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.parent.name == root or stat.read_text().rpartition(")")[2].split()[1] == root:
                total += int((stat.parent / "schedstat").read_text().split()[0])
    return total


@contextlib.asynccontextmanager
async def opened(kind: str, url: str, root: Path) -> AsyncIterator[list[SqliteEventLog]]:
    """Yield the logs that append by turns."""
    if kind == "file":
        logs = [await asyncio.to_thread(open_log, root / "log.db")]
    else:
        logs = [await asyncio.to_thread(open_shared, url) for _ in range(2 if kind == "shared" else 1)]
    try:
        yield logs
    finally:
        for log in logs:
            await log.close()


async def appended(logs: Sequence[SqliteEventLog], batches: Sequence[Sequence[DecisionRecord]]) -> None:
    for at, batch in enumerate(batches):
        await logs[at % len(logs)].append_many(batch)


async def measured(kind: str, server: PostgresServer, size: int, commits: int) -> dict[str, float]:
    """Return what one commit of so many decisions takes."""
    with tempfile.TemporaryDirectory() as root:
        found: dict[str, float] = {}
        if kind != "file":
            database = await asyncio.to_thread(server.database)
            with relayed(server) as relay:
                url = f"postgresql://replica@127.0.0.1:{relay.port}/{database}?sslmode=disable"
                async with opened(kind, url, Path(root)) as logs:
                    batches = _batches(size, commits // 3, "counted-")
                    await appended(logs, batches[:_WARM])
                    relay.reset()
                    await appended(logs, batches[_WARM:])
                    messages, times = relay.busiest(len(logs))
                    found["messages"] = messages / (len(batches) - _WARM)
                    found["round trips"] = times / (len(batches) - _WARM)
        url = server.url(await asyncio.to_thread(server.database)) if kind != "file" else ""
        async with opened(kind, url, Path(root)) as logs:
            batches = _batches(size, commits, "timed-")
            await appended(logs, batches[:_WARM])
            ours, theirs = time.process_time_ns(), server_ns(server)
            await appended(logs, batches[_WARM:])
            counted = len(batches) - _WARM
            found["ours"] = (time.process_time_ns() - ours) / counted / _NANOSECONDS
            found["server"] = (server_ns(server) - theirs) / counted / _NANOSECONDS if kind != "file" else 0.0
        return found


def _batches(size: int, commits: int, prefix: str) -> list[list[DecisionRecord]]:
    records, chance, filler = Records(prefix), random.Random(SEED), "x" * 2800
    return [
        [
            records.record(
                agent=chance.choice(AGENTS[:20]),
                tools=chance.sample(TOOLS[:20], 2),
                rules=chance.sample(RULES[:5], 1),
                key=f"{prefix}{commit}-{at}",
                document=canonical_bytes({"number": f"{commit}-{at}", "filler": filler}),
                details={"explanation": "y" * 600, "effects": ["reading"]},
            )
            for at in range(size)
        ]
        for commit in range(_WARM + commits)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a commit takes.")
    parser.add_argument("--sizes", default="1,8,32")
    parser.add_argument("--commits", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    console, results = Console(), {}
    table = Table("decisions", "log", "round trips", "messages", "ours, ms", "server, ms", "a decision, ms")
    with postgres_server() as server:
        for size in map(int, options.sizes.split(",")):
            for kind in ("file", "alone", "shared"):
                rounds = [asyncio.run(measured(kind, server, size, options.commits)) for _ in range(options.rounds)]
                one = {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}
                results[f"{size} {kind}"] = one
                counts = [f"{one[name]:.1f}" if name in one else "" for name in ("round trips", "messages")]
                times = [f"{one[name]:.2f}" for name in ("ours", "server")]
                table.add_row(str(size), kind, *counts, *times, f"{(one['ours'] + one['server']) / size:.2f}")
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
