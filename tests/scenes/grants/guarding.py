"""A control plane that serves from another thread, so that blocking callers can be tested against the real thing."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aisecops_client import Client, Guard, PlanBuilder
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE, TokenIssuer, local_issuer
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.server import Listening, serve

from tests.fakes.clock import FakeClock
from tests.fakes.policy_engine import FakeEngine
from tests.integration.api.running import AGENT, served_by

T = TypeVar("T")


@dataclass
class Plane:
    """A served control plane on a real log, with an engine that can be told what to oblige to."""

    address: str
    issuer: TokenIssuer
    clock: FakeClock
    engine: FakeEngine
    log: SqliteEventLog
    keys: Path
    loop: asyncio.AbstractEventLoop

    def token(self, *roles: Role, subject: str = AGENT) -> str:
        return self.issuer.mint(subject, roles or (Role.AGENT,))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def events(self, prefix: str = "") -> list[dict[str, Any]]:
        async def read() -> list[dict[str, Any]]:
            found = self.log.events(from_index=0, follow=False, trace_id="")
            return [
                {**json.loads(stored.event.body), "details": stored.event.details()}
                async for stored in found
                if stored.event.type.startswith(prefix)
            ]

        return self.wait(read())

    def types(self, prefix: str = "") -> list[str]:
        return [event["type"] for event in self.events(prefix)]

    def incidents(self) -> list[str]:
        return [name.removeprefix("incident.") for name in self.types("incident.")]


@contextmanager
def plane() -> Iterator[Plane]:
    """Serve while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory() as directory:
        root, clock, engine = Path(directory), FakeClock(), FakeEngine(obligations=[])
        log = open_log(root / "audit.db", LogOptions(minimum_free_bytes=0))
        issuer, keys = local_issuer(root / "keys", clock), root / "keys"

        async def begin() -> Any:
            served = served_by(keys / KEY_SET_FILE, clock=clock, log=log, engine=engine, grants=log.grants)
            return await serve(served, Listening(root / "run" / "api.sock"))

        server = asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
        try:
            yield Plane(f"unix:{server.socket}", issuer, clock, engine, log, keys, loop)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(30)
            asyncio.run_coroutine_threadsafe(log.close(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)
            loop.close()


@dataclass
class Outbox:
    """What the guarded functions of a test really did."""

    sent: list[dict[str, Any]] = field(default_factory=list)

    def send(self, to: str, subject: str = "none", **more: Any) -> dict[str, Any]:
        self.sent.append({"to": to, "subject": subject, **more})
        return {"id": len(self.sent), "to": to}


@dataclass
class Desk:
    """An agent's side: a client, a guard, and functions that record that they ran."""

    plane: Plane
    client: Client
    guard: Guard
    outbox: Outbox = field(default_factory=Outbox)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.guard.clock = lambda: self.plane.clock.now_ns() / 1e9
        self.guard.pause = self.pauses.append
        self.send = self.guard.tool("mail/send")(self.outbox.send)

    def oblige(self, kind: str, step: str = "", **parameters: Any) -> None:
        self.plane.engine.obligations.append({"kind": kind, "step": step, "parameters": parameters})

    def document(self, at: int) -> dict[str, Any]:
        """Return the document of one decision, as policy saw it."""
        found: dict[str, Any] = json.loads(self.plane.engine.documents[at])
        return found


@contextmanager
def desk_of(served: Plane) -> Iterator[Desk]:
    """Be connected as the agent."""
    with Client.connect(served.address, served.token()) as client:
        yield Desk(served, client, Guard(client, environment="production"))


def plan_of(*calls: Any) -> PlanBuilder:
    plan = PlanBuilder(intent="do it")
    pairs = [calls] if isinstance(calls[0], str) else list(calls)
    earlier: list[str] = []
    for tool, arguments in pairs:
        earlier = [plan.step(tool, arguments, depends_on=earlier)]
    return plan
