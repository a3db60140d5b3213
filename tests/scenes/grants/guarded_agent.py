"""An agent as a process of its own whose guard keeps what came of calls, so that it can be killed in any moment.

    python -m tests.scenes.grants.guarded_agent KIND ADDRESS TOKEN SPOOL [FULL]

KIND is ``guard``, ``async``, ``bridge`` or ``later``. Lines in: ``call TICKET``, and ``open`` while the tool runs.
Lines out: ``ready``, ``running``, and ``done RESULT`` or ``error REASON``. With FULL no file can take any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from aisecops_client import AisecopsClientError, AsyncClient, AsyncGuard, Client, Guard
from aisecops_client.frameworks._bridge import Bridge, PendingCall
from aisecops_client.frameworks._heard import Heard

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60


def out(line: str) -> None:
    # One unbuffered write: whoever reads the line has it, whatever happens to this process next.
    os.write(1, f"{line}\n".encode())


def read(ticket_id: str) -> str:
    """Be the tool."""
    out("running")
    sys.stdin.readline()
    return f"the text of {ticket_id}"


def told(line: str) -> str:
    return f"Please summarise ticket {line.split()[1]}."


def blocking(make: Callable[[str], str]) -> None:
    out("ready")
    for line in iter(sys.stdin.readline, ""):
        try:
            out(f"done {make(line)}")
        except AisecopsClientError as error:
            out(f"error {error.reason or error.code.name}")


def by_guard(address: str, token: str) -> None:
    guard = Guard(Client.connect(address, token), environment="production")
    tool = guard.tool("tickets/read")(read)

    def make(line: str) -> str:
        with guard.task("Summarise.") as task:
            task.source("user_prompt", told(line))
            return tool(ticket_id=line.split()[1])

    blocking(make)


def by_bridge(address: str, token: str, *, tells_later: bool) -> None:
    bridge = Bridge(Client.connect(address, token), environment="production", tells_later=tells_later)

    def refused(error: Exception) -> str:
        raise error

    def make(line: str) -> str:
        ticket = line.split()[1]
        pending = PendingCall("tickets/read", {"ticket_id": ticket}, ticket, [Heard("user_prompt", told(line))])
        result: str = bridge.call(pending, lambda arguments: read(**arguments), refused)
        return result

    blocking(make)


async def by_async_guard(address: str, token: str) -> None:
    async with AsyncClient.connect(address, token) as client:
        guard = AsyncGuard(client, environment="production")
        tool = guard.tool("tickets/read")(read)
        out("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                with guard.task("Summarise.") as task:
                    task.source("user_prompt", told(line))
                    out(f"done {await tool(ticket_id=line.split()[1])}")
            except AisecopsClientError as error:
                out(f"error {error.reason or error.code.name}")


class Agent:
    """The process, from outside."""

    def __init__(self, kind: str, address: str, token: str, spool: Path, *, full: bool = False) -> None:
        command = [sys.executable, "-m", "tests.scenes.grants.guarded_agent", kind, address, token]
        self.process = subprocess.Popen(
            [*command, *(["full"] if full else [])],
            cwd=ROOT,
            env={**os.environ, "AISECOPS_SPOOL_DIR": str(spool)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.expect("ready")

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        found = self.process.stdout.readline().strip()
        assert found == line, (found, self.said())

    def said(self) -> str:
        """Kill it, and return what it said to people."""
        self.kill()
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)

    def end(self) -> None:
        """Let it end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(SECONDS) == 0


@contextlib.contextmanager
def agent(kind: str, address: str, token: str, spool: Path, *, full: bool = False) -> Iterator[Agent]:
    """Run an agent while the block runs."""
    running = Agent(kind, address, token, spool, full=full)
    try:
        yield running
    finally:
        running.kill()
        for stream in (running.process.stdin, running.process.stdout, running.process.stderr):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


if __name__ == "__main__":
    kind, at, credential, *full = sys.argv[1:]
    if full:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if kind == "async":
        asyncio.run(by_async_guard(at, credential))
    elif kind == "guard":
        by_guard(at, credential)
    else:
        by_bridge(at, credential, tells_later=kind == "later")
