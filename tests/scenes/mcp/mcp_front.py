"""The proxy as a process that listens, and clients of it: the official SDK's, and one that says what a test wants."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx2
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.fakes.clock import FakeClock
from tests.scenes.mcp.mcp_scene import DESK, DESK_AGENT, ROOT, Scene

SECONDS = 120.0
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
MODERN = "2026-07-28"


@dataclass
class Front:
    """A proxy that listens at ``url``. ``told`` is what it said on standard error, once it has ended."""

    scene: Scene
    url: str
    process: subprocess.Popen[str]
    told: str = ""

    def token(
        self, subject: str = DESK_AGENT, *roles: Role, url: str = "", seconds: int = 3600, seconds_ago: int = 0
    ) -> str:
        """Return a token for this proxy."""
        made = issuer(self.scene.settings.model_copy(update={"token_audience": url or self.url}))
        then = FakeClock(made.clock.now_ns() - seconds_ago * 1_000_000_000)
        return dataclasses.replace(made, clock=then).mint(subject, roles or (Role.AGENT,), seconds=seconds)

    @asynccontextmanager
    async def client(self, token: str = "", **options: Any) -> AsyncIterator[Client]:
        """Give the official SDK's client, connected."""
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http,
            Client(streamable_http_client(self.url, http_client=http), **options) as client,
        ):
            yield client

    @asynccontextmanager
    async def wire(self, token: str | None = None) -> AsyncIterator[Wire]:
        """Give a client that says just what a test wants."""
        headers = {"Authorization": f"Bearer {self.token() if token is None else token}"} if token != "" else {}
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=SECONDS)) as http:
            yield Wire(self.url, http)


@dataclass
class Heard:
    """An answer of the proxy."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """Return what it says: by itself, or as the answer at the end of its events."""
        if self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return self.messages[-1]
        return json.loads(self.body)

    @property
    def messages(self) -> list[Any]:
        events = self.body.decode().split("\n\n")
        found = ["".join(line[6:] for line in event.split("\n") if line.startswith("data: ")) for event in events]
        return [json.loads(data) for data in found if data]


@dataclass
class Wire:
    """A client by hand. ``session`` and ``version`` go with every request once there is a session."""

    url: str
    http: aiohttp.ClientSession
    session: str = ""
    version: str = ""

    @property
    def headers(self) -> dict[str, str]:
        own = {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": self.version}
        return {**ACCEPT, **{name: value for name, value in own.items() if value}}

    async def send(self, method: str, body: Any = None, **headers: str | None) -> Heard:
        """Send a request; a header that is ``None`` is left out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**self.headers, **named}.items() if value is not None}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        async with self.http.request(method, self.url, data=data, headers=sent) as answer:
            return Heard(answer.status, answer.headers, await answer.read())

    async def ask(self, id: Any, method: str, params: Any = None, **headers: str | None) -> Heard:
        return await self.send("POST", request(id, method, params), **headers)

    async def call(self, id: Any, tool: str, **arguments: Any) -> Any:
        heard = await self.ask(id, "tools/call", {"name": tool, "arguments": arguments})
        assert heard.status == 200, heard.body
        return heard.json

    async def begin(self, capabilities: dict[str, Any] | None = None, version: str = "2025-11-25") -> Heard:
        about = {"name": "wire", "version": "0"}
        params = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": about}
        heard = await self.ask("begin", "initialize", params)
        assert heard.status == 200, heard.body
        self.session, self.version = heard.headers["Mcp-Session-Id"], version
        await self.send("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"})
        return heard


def request(id: Any, method: str, params: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


def modern(id: Any, method: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a request of the era without a handshake, and the headers that repeat it."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "0"},
    }
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if name := params.get("name", params.get("uri")):
        headers["Mcp-Name"] = name
    return request(id, method, {**params, "_meta": meta}), headers


@dataclass
class Listening:
    """How a proxy is started that listens."""

    scene: Scene
    options: tuple[str, ...] = ()
    line: tuple[str, ...] = DESK
    name: str = "desk"
    agent: str = ""
    address: str = "127.0.0.1:0"
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        words = [sys.executable, "-m", "aisecops_server", "mcp", "proxy", "--listen", self.address]
        words += ["--environment", "production", *(("--agent", self.agent) if self.agent else ()), *self.options]
        return [*words, *(("--name", self.name, "--", *self.line) if self.line else ())]


@contextlib.contextmanager
def front(how: Listening) -> Iterator[Front]:
    """Run a proxy that listens, and end it as a service is ended."""
    environment = how.scene.environment(DESK_JOURNAL=str(how.scene.journal), PYTHONPATH=str(ROOT), **how.environment)
    process = subprocess.Popen(
        how.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    running = Front(how.scene, "", process)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("listening on "), (said, process.poll() is not None and process.communicate()[1])
        running.url = said.removeprefix("listening on ").strip()
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            _, running.told = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            _, running.told = process.communicate(timeout=60)
            raise
    assert "Traceback" not in running.told, running.told
    assert process.returncode == 0, running.told
