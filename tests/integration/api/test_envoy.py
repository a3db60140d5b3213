"""A real Envoy before a real tool server: what reaches the tool, byte by byte, is what was decided."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e import console
from tests.integration.api.real import AGENT
from tests.integration.api.test_ext_authz import GATEWAY, Gateway, Role, gateway

PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/govern-http-tools.md"
ENVOY = Path(sys.executable).parent / "envoy"
pytestmark = pytest.mark.skipif(
    not ENVOY.exists() and shutil.which("envoy") is None, reason="no wheel of Envoy for this system"
)


@dataclass
class Scene:
    """An Envoy that listens, and what its tool server was sent."""

    asked: Gateway
    port: int
    reached: list[bytes] = field(default_factory=list)

    async def raw(self, request: bytes) -> tuple[int, bytes]:
        """Send bytes as they are; return the status of the answer, and the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(60):
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return int(answer.split(b" ", 2)[1]), answer

    async def get(self, target: str, *headers: str) -> int:
        token = self.asked.token(AGENT)
        lines = [f"GET {target} HTTP/1.1", "Host: crm.corp.example", f"Authorization: Bearer {token}", *headers]
        status, _ = await self.raw(("\r\n".join([*lines, "", ""])).encode())
        return status


@contextlib.asynccontextmanager
async def envoy(root: Path) -> AsyncIterator[Scene]:
    async with gateway(root) as asked:
        scene = Scene(asked, 0)

        async def tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError):
                scene.reached.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nran")
                await writer.drain()
            writer.close()

        tools = await asyncio.start_unix_server(tool, root / "tools.sock")
        [config] = [
            part.content for part in console.parts(PAGE.read_text()) if getattr(part, "name", "") == "envoy.yaml"
        ]
        for old, new in {
            "8443": "0",
            "GATEWAY_TOKEN": asked.token(GATEWAY, Role.GATEWAY),
            "state/run/aisecops.sock": asked.address.removeprefix("unix:"),
        }.items():
            assert old in config
            config = config.replace(old, new)
        (root / "envoy.yaml").write_text(config + "admin: {address: {pipe: {path: admin.sock}}}\n")
        process = await asyncio.create_subprocess_exec(
            ENVOY, "-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", cwd=root
        )
        try:
            scene.port = await listening(root / "admin.sock")
            yield scene
        finally:
            process.kill()
            await process.wait()
            tools.close()


async def listening(admin: Path) -> int:
    """Return the port that Envoy listens on, once it does."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError, ValueError, IndexError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_unix_connection(admin)
                writer.write(b"GET /listeners HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
                return int(answer.split(b"127.0.0.1:")[1].split()[0])
            await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_what_is_decided_is_what_reaches_the_tool_and_nothing_else_does(tmp_path: Path) -> None:
    async with envoy(tmp_path) as scene:
        assert await scene.get("/customers?query=Lindt") == 200
        [sent] = scene.reached
        assert sent.startswith(b"GET /customers?query=Lindt HTTP/1.1\r\n")
        assert b"authorization" not in sent.lower()
        assert b"aisecops-grant: " in sent.lower()
        scene.reached.clear()
        refused = {
            "/customers?query=a&query=b": [],
            "/customers/../customers/C-9/orders/../../../admin": [],
            "/customers/%2e%2e/admin": [],
            "/customers/a%2fb/orders": [],
            "/customers/a%5cb/orders": [],
            "/customers/%00/orders": [],
            "/customers;x=1?query=a": [],
            "/customers?query=b": ["X-HTTP-Method-Override: DELETE"],
            "/customers?query=c": ["X-Original-URL: /admin"],
            "/customers?query=d": ["Host: other.example"],
            "/customers?query=e": ["Authorization: Bearer second"],
            "/customers?query=f": ["Content-Length: 5", "Content-Length: 6"],
            "/customers?query=g": ["aisecops-authorization: Bearer a.b.c"],
            "/nowhere": [],
        }
        for target, headers in refused.items():
            assert await scene.get(target, *headers) in (400, 401, 403), target
        assert scene.reached == []


@pytest.mark.asyncio
async def test_a_body_is_decided_whole_or_not_at_all(tmp_path: Path) -> None:
    async with envoy(tmp_path) as scene:
        head = (
            "POST /services/checkout/releases HTTP/1.1\r\nHost: crm.corp.example\r\n"
            f"Authorization: Bearer {scene.asked.token(AGENT)}\r\nContent-Type: application/json\r\n"
        )
        large = b'{"version": "' + b"x" * 300_000 + b'"}'
        sizes = f"Content-Length: {len(large)}\r\n\r\n"
        assert (await scene.raw((head + sizes).encode() + large))[0] == 413
        smuggled = b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: crm.corp.example\r\n\r\n'
        both = f"{head}Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert (await scene.raw(both + smuggled))[0] in (400, 403)
        assert scene.reached == []


@pytest.mark.asyncio
async def test_without_a_control_plane_nothing_passes(tmp_path: Path) -> None:
    async with envoy(tmp_path) as scene:
        assert await scene.get("/customers?query=Lindt") == 200
        scene.reached.clear()
        await scene.asked.server.stop(0)
        assert await scene.get("/customers?query=Lindt") in (403, 503)
        assert scene.reached == []
