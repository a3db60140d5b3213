"""Histories of budgets among real processes: racers, kills, restarts; and many simulated ones. Long runs by arguments.

    python -m tests.scenes.budgets.budget_histories races --rounds 1000 --racers 8
    python -m tests.scenes.budgets.budget_histories kills --workers 300 --servers 30
    python -m tests.scenes.budgets.budget_histories simulations --seeds 2000 --steps 1000

There is one owner of the store, the server, as in production; racers and workers are clients over its socket. Every
run ends with an audit of the books by sums that share no code with the ledger, and says what it did.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import apsw
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.adapters.system import RandomIds
from aisecops_server.usecases.budgets.budgets import Settlements
from aisecops_server.usecases.budgets.expire_reservations import ExpireReservations

from tests.fakes.charging_engine import Limit
from tests.fakes.clock import FakeClock
from tests.scenes.budgets.books import problems
from tests.scenes.budgets.budget_server import LOG
from tests.scenes.budgets.ledger_simulation import Simulation

AT_ONCE = 4
ROOT = Path(__file__).parents[3]
LAST_UNIT = Limit("session", "calls", "session", 3)
# Wide enough for every plan, so that the session decides; and narrow enough to be shared by all.
SHARED = (Limit("agent", "calls", "day", 1_000_000), Limit("team", "tokens", "month", 10**9, per_step=5))


class Process:
    """A child that is spoken to line by line."""

    def __init__(self, *command: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._in: IO[str] = self._child.stdin
        self._out: IO[str] = self._child.stdout
        self.opening = self.heard()

    def tell(self, *words: object) -> None:
        self._in.write(" ".join(map(str, words)) + "\n")
        self._in.flush()

    def heard(self) -> str:
        return self._out.readline().strip()

    def asked(self, *words: object) -> str:
        self.tell(*words)
        return self.heard()

    def kill(self) -> None:
        self._child.kill()
        self.close()

    def close(self) -> None:
        for pipe in (self._in, self._out):
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        self._child.wait()


class Server(Process):
    """The control plane with its store, in a process of its own."""

    def __init__(self, directory: Path, limits: Sequence[Limit], *, lease_seconds: int = 3600) -> None:
        told = json.dumps([dataclasses.asdict(limit) for limit in limits])
        super().__init__("tests.scenes.budgets.budget_server", str(directory), told, str(lease_seconds))
        self.address, self.token = self.opening.split()

    def agent(self) -> Process:
        """Return an agent that is ready to ask."""
        agent = Process("tests.scenes.budgets.budget_client", self.address, self.token)
        assert agent.opening == "ready"
        return agent


@contextmanager
def agents(server: Server, count: int) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        found = [server.agent() for _ in range(count)]
        for agent in found:
            stack.callback(agent.close)
        yield found


@dataclass
class Races:
    """How often how many of those who raced for the last unit got it, and what else is wrong."""

    winners: Counter[int] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def race(directory: Path, *, rounds: int, racers: int, limits: Sequence[Limit] = (LAST_UNIT, *SHARED)) -> Races:
    """Let ``racers`` processes ask at once for the last call of a session, in one new session after another."""
    found = Races()
    with ExitStack() as stack:
        server = Server(directory, limits)
        stack.callback(server.close)
        racing = stack.enter_context(agents(server, racers))
        for number in range(rounds):
            session = f"round-{number}"
            assert racing[0].asked("decide", f"{session}-first", session, LAST_UNIT.limit - 1).startswith("ALLOW")
            for at, agent in enumerate(racing):
                agent.tell("decide", f"{session}-{at}", session, 1)
            answers = [agent.heard().partition(" ")[0] for agent in racing]
            found.winners[answers.count("ALLOW")] += 1
            found.others.update(answer for answer in answers if answer != "ALLOW")
    found.problems = problems(directory / LOG)
    return found


@dataclass
class Kills:
    """What a run with kills came to. ``expected`` says how the reservation of each decision must have ended."""

    expected: dict[str, str] = field(default_factory=dict)
    workers_killed: int = 0
    servers_killed: int = 0
    retried: int = 0
    problems: list[str] = field(default_factory=list)

    def ended(self, state: str) -> int:
        return list(self.expected.values()).count(state)


@dataclass
class Killing:
    """Kills workers between what they reserved and what they settle, and the server in between."""

    directory: Path
    chance: random.Random
    found: Kills = field(default_factory=Kills)
    number: int = 0

    def run(self, workers: int, servers: int, *, reap: bool = True) -> Kills:
        """Kill that many of each; afterwards let all leases run out, as a reaper would, unless it is broken."""
        server = self._server()
        # A few at a time, so that some are between two steps while another is killed, or the server is.
        batches = [min(AT_ONCE, workers - begun) for begun in range(0, workers, AT_ONCE)]
        restarts = set(self.chance.sample(range(len(batches)), servers))
        for number, size in enumerate(batches):
            batch = [server.agent() for _ in range(size)]
            if number in restarts:
                server = self._killed_amid(server, batch)
            for agent in batch:
                self._worked(agent)
            self.found.workers_killed += len(batch)
        server.kill()
        if reap:
            asyncio.run(_all_leases_ran_out(self.directory / LOG))
        self.found.problems = [*problems(self.directory / LOG), *self._wrong_states()]
        return self.found

    def _server(self) -> Server:
        return Server(self.directory, (Limit("agent", "calls", "day", 10**6), *SHARED[1:]))

    def _worked(self, agent: Process) -> None:
        """Let a worker reserve, settle nothing or a part of it, seldom all, and kill it."""
        steps = self.chance.randint(1, 3)
        done = steps if self.chance.random() < 0.1 else self.chance.randrange(steps)
        outcome, decision = self._decided(agent, steps).split()
        assert outcome == "ALLOW"
        for step in range(done):
            assert agent.asked("complete", step, self.chance.randint(0, 5)) == "done"
        agent.kill()
        self.found.expected[decision] = "SETTLED" if done == steps else "EXPIRED"

    def _decided(self, agent: Process, steps: int) -> str:
        self.number += 1
        return agent.asked("decide", f"key-{self.number}", f"session-{self.number}", steps)

    def _killed_amid(self, server: Server, batch: Sequence[Process]) -> Server:
        """Kill the server while all of a batch wait for it; each retries and must get one decision only."""
        keys = {}
        for agent in batch:
            self.number += 1
            keys[agent] = f"key-{self.number}"
            agent.tell("decide", keys[agent], f"session-{self.number}", 1)
        # Some of them may have their answers, some are on record without one, some were never heard.
        heard = [batch[0].heard()] if self.chance.random() < 0.5 else []
        server.kill()
        server = self._server()
        self.found.servers_killed += 1
        for at, agent in enumerate(batch):
            first = heard[at] if at < len(heard) else agent.heard()
            again = self._until_decided(agent, keys[agent])
            assert first.startswith("error") or first == again, (first, again)
            self.found.retried += first.startswith("error")
            self.found.expected[again.split()[1]] = "EXPIRED"
        return server

    def _until_decided(self, agent: Process, key: str) -> str:
        number = key.removeprefix("key-")
        for _ in range(200):
            answer = agent.asked("decide", key, f"session-{number}", 1)
            if not answer.startswith("error"):
                return answer
        raise AssertionError("the server did not come back")

    def _wrong_states(self) -> list[str]:
        connection = apsw.Connection(str(self.directory / LOG), flags=apsw.SQLITE_OPEN_READONLY)
        states = dict(connection.execute("SELECT decision_id, state FROM reservation").fetchall())
        connection.close()
        wrong = [
            f"{decision} is {states.pop(decision, 'lost')} rather than {state}"
            for decision, state in self.found.expected.items()
            if states.get(decision) != state
        ]
        unknown = set(states).difference(self.found.expected)
        return [*wrong, *(f"{decision} reserved for nobody" for decision in sorted(unknown))]


async def _all_leases_ran_out(path: Path) -> None:
    clock, ids = FakeClock(at_ns=time.time_ns() + 10**9 * 10**6), RandomIds()
    log = open_log(path, LogOptions(minimum_free_bytes=0))
    await ExpireReservations(log.budgets, log, clock, Settlements(log.budgets, ids))()
    assert (await log.verify()).problem == ""
    await log.close()


def simulated(seeds: range, steps: int) -> list[str]:
    """Return what is wrong with any of the histories of ``seeds``."""
    return [problem for seed in seeds for problem in Simulation(seed).run(steps)]


def main(line: Sequence[str]) -> int:
    """Run one kind of history as long as asked, and say what it came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    kinds = parser.add_subparsers(dest="kind", required=True)
    races = kinds.add_parser("races")
    races.add_argument("--rounds", type=int, default=1000)
    races.add_argument("--racers", type=int, default=8)
    kills = kinds.add_parser("kills")
    kills.add_argument("--workers", type=int, default=300)
    kills.add_argument("--servers", type=int, default=30)
    kills.add_argument("--seed", type=int, default=1)
    simulations = kinds.add_parser("simulations")
    simulations.add_argument("--seeds", type=int, default=2000)
    simulations.add_argument("--steps", type=int, default=1000)
    asked = parser.parse_args(line)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        wrong = _run(asked, Path(folder))
    sys.stdout.write("\n".join([f"{time.monotonic() - began:.0f} s, {len(wrong)} problems", *wrong, ""]))
    return 1 if wrong else 0


def _run(asked: argparse.Namespace, folder: Path) -> list[str]:
    if asked.kind == "races":
        races = race(folder, rounds=asked.rounds, racers=asked.racers)
        sys.stdout.write(f"winners by round: {dict(races.winners)}; others: {dict(races.others)}\n")
        return [*races.problems, *(f"{count} winners" for count in races.winners if count != 1)]
    if asked.kind == "kills":
        kills = Killing(folder, random.Random(asked.seed)).run(asked.workers, asked.servers)
        sys.stdout.write(
            f"{kills.workers_killed} workers and {kills.servers_killed} servers killed, {kills.retried} answers lost "
            f"and asked for again; {kills.ended('EXPIRED')} reservations expired, {kills.ended('SETTLED')} settled\n"
        )
        return kills.problems
    return simulated(range(asked.seeds), asked.steps)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
