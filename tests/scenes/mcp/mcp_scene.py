"""A real control plane beside real MCP clients, proxies and servers; nothing here is a stand-in."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aisecops.v1 import approval_pb2
from aisecops_client import AsyncClient
from aisecops_server.adapters.git.create import commit_files
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings
from mcp import StdioServerParameters

from tests.integration.api.real import settings_in

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[3]
DESK_AGENT = "spiffe://corp.example/agent/desk"
APPROVER = "gita.rao@corp.example"
DESK = (sys.executable, str(ROOT / "tests/mcp_servers/desk.py"))
PROMPT = "Answer the customer of ticket T-5519: send a mail to mara.lindt@lindt-keramik.example."
APPROVE, DENY = approval_pb2.CHOICE_APPROVE, approval_pb2.CHOICE_DENY

SERVERS = """
desk:
  description: The support desk.
  owner: customer-support
  environments: [production]
  tools: catalogued
"""
TOOLS = """
desk/read_ticket:
  description: Read a ticket.
  effect: read
  reach: internal
  result_trust: external
  arguments: {ticket_id: object}
desk/find_customer:
  description: Find a customer.
  effect: read
  reach: internal
  result_trust: internal
  result_records: true
  arguments: {query: query}
  obligations:
    - kind: redact
      parameters: {fields: [card_number]}
desk/send_mail:
  description: Send a mail.
  effect: send
  reach: external
  result_trust: internal
  result_records: true
  arguments: {to: destination, subject: content, body: content}
desk/refund:
  description: Pay money back.
  effect: spend
  reach: external
  result_trust: internal
  arguments: {order_id: object, amount: amount}
desk/break_down: {description: Fail., effect: read, reach: internal, result_trust: internal}
desk/count: {description: Count., effect: read, reach: internal, result_trust: internal, arguments: {to: setting}}
desk/ask_back: {description: Ask., effect: read, reach: internal, result_trust: internal}
desk/wait_long: {description: Wait., effect: read, reach: internal, result_trust: internal}
desk/deliver:
  description: Deliver an order.
  effect: read
  reach: internal
  result_trust: internal
  arguments: {order_id: object}
desk/resources.read:
  description: Read notes.
  effect: read
  reach: internal
  result_trust: internal
  arguments: {uri: object}
  allowed_schemes: [note]
  allowed_hosts: [today]
"""
CAPABILITIES = """
desk.work:
  description: Work at the support desk.
  owner: customer-support
  risk: medium
  tools:
    - desk/read_ticket
    - desk/find_customer
    - desk/send_mail
    - desk/refund
    - desk/break_down
    - desk/count
    - desk/ask_back
    - desk/wait_long
    - desk/deliver
    - desk/resources.read
"""
AGENTS = f"""
{DESK_AGENT}:
  owner: customer-support
  contact: support@corp.example
  framework: mcp
  environments: [production]
  budget: workshop
  capabilities:
    desk.work: {{granted_by: head-of-support}}
"""
APPROVALS = """
  desk/refund:
    always: true
"""
REPLACED = ("modes",)
ADDED = {
    "servers": SERVERS,
    "tools": TOOLS,
    "capabilities": CAPABILITIES,
    "agents": AGENTS,
    "approvals": APPROVALS,
}


@dataclass
class Scene:
    """A control plane that serves from another thread, and where to find it."""

    settings: Settings
    root: Path
    loop: asyncio.AbstractEventLoop
    plane: ControlPlane = field(init=False)
    _served: AbstractAsyncContextManager[Any] | None = None

    def start(self) -> None:
        """Serve, for the first time or again."""
        self._served = serving(self.settings)
        self.plane, _ = self.wait(self._served.__aenter__())

    def stop(self) -> None:
        """Serve no more."""
        served, self._served = self._served, None
        if served is not None:
            self.wait(served.__aexit__(None, None, None))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(90)

    def token(self, subject: str, *roles: Role) -> str:
        return issuer(self.settings).mint(subject, roles or (Role.AGENT,))

    def client(self, subject: str = DESK_AGENT, *roles: Role) -> AsyncClient:
        client = AsyncClient.connect(f"unix:{self.settings.socket}", self.token(subject, *roles))
        client.timeout_seconds = 60.0
        return client

    async def answer(self, approval_id: str, choice: Any = APPROVE) -> None:
        """Answer a request for approval as a person of security operations."""
        async with self.client(APPROVER, Role.SECOPS) as person:
            await person.approvals.vote(await person.approvals.show(approval_id), choice, note="looked at")

    async def events(self, prefix: str = "", *, trace: str = "") -> list[dict[str, Any]]:
        async with self.client("auditor@corp.example", Role.AUDITOR) as auditor:
            found = [event async for event in auditor.events(trace_id=trace) if event.type.startswith(prefix)]
        return [{"type": event.type, **json.loads(event.body_json or b"{}")} for event in found]

    def proxy(self, *line: str, name: str = "desk", options: tuple[str, ...] = (), **environment: str) -> Any:
        """Return how a client starts the proxy in front of a server."""
        return StdioServerParameters(
            command=sys.executable,
            args=["-m", "aisecops_server", "mcp", "proxy", *self.options, "--name", name, *options, "--", *line],
            env=self.environment(**environment),
        )

    @property
    def options(self) -> tuple[str, ...]:
        return ("--agent", DESK_AGENT, "--environment", "production")

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.root),
            "AISECOPS_STATE_DIR": str(self.settings.state_dir),
            "LC_ALL": "C.UTF-8",
            **more,
        }

    def desk(self, *options: str) -> Any:
        """Return how a client starts the proxy in front of the support desk."""
        return self.proxy(*DESK, options=options, DESK_JOURNAL=str(self.journal))

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    def done(self, tool: str = "") -> list[dict[str, Any]]:
        """Return what the support desk was really asked to do."""
        text = self.journal.read_text(encoding="utf-8") if self.journal.exists() else ""
        found = [json.loads(line) for line in text.splitlines()]
        return [one for one in found if tool in ("", one["tool"])]


@contextmanager
def scene(**added: str) -> Iterator[Scene]:
    """Serve while the block runs; ``added`` is what tables say beside what the support desk needs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    # Short, so that the socket's path is short enough.
    with tempfile.TemporaryDirectory(prefix="mcp-") as folder:
        root = Path(folder)
        settings = settings_in(root)
        amend(root, ADDED, added)
        running = Scene(settings, root, loop)
        running.start()
        try:
            yield running
        finally:
            running.stop()
            loop.call_soon_threadsafe(loop.stop)
            thread.join(30)
            loop.close()


def amend(root: Path, *added: dict[str, str]) -> str:
    """Commit more entries to the tables of the policy repository."""
    tables: dict[str, bytes] = {}
    for part in added:
        for table, text in part.items():
            name = f"data/{table}.yaml"
            if table in REPLACED:
                tables[name] = text.encode()
                continue
            before = tables.get(name) or (root / "policy" / name).read_bytes()
            tables[name] = before.rstrip() + b"\n" + text.encode()
    return commit_files(root / "policy", tables, message="Let MCP servers be used", at_seconds=1_790_000_001)
