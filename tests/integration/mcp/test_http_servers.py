"""Servers that are reached over Streamable HTTP are governed as those that are started, with tokens of their own."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aisecops_mcp import jsonrpc
from aisecops_mcp.http_address import Address
from aisecops_mcp.http_server import HttpServer
from aisecops_mcp.upstream import ServerGoneError
from mcp import Client

from tests.http_server import answer, server
from tests.mcp_scene import ROOT, Scene, scene

pytestmark = pytest.mark.asyncio
LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def desk() -> Iterator[Scene]:
    with scene() as running:
        yield running


@contextlib.contextmanager
def served(running: Scene, *options: str) -> Iterator[str]:
    """Run the support desk with the official SDK's own HTTP server and yield its URL."""
    process = subprocess.Popen(
        (sys.executable, "-m", "tests.mcp_servers.desk_http", *options),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=running.environment(DESK_JOURNAL=str(running.journal), PYTHONPATH=str(ROOT)),
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
    finally:
        process.kill()
        process.communicate(timeout=60)


def proxied(running: Scene, url: str, *options: str) -> Any:
    started = running.proxy(options=("--upstream", f"desk={url}", *options))
    started.args.remove("--")
    return started


def jwt(audience: Any) -> str:
    def part(found: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(found).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'aud': audience})}.c2lnbmVk"


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("form", ["json", "events"])
async def test_a_server_at_an_address_is_governed_as_one_that_is_started(desk: Scene, mode: str, form: str) -> None:
    desk.journal.unlink(missing_ok=True)
    with served(desk, form) as url:
        token = desk.root / "desk.token"
        token.write_text(jwt(url))
        async with Client(proxied(desk, url, "--upstream-token", f"desk={token}"), mode=mode) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            found = await client.call_tool("find_customer", {"query": "lindt"})
            refused = await client.call_tool("close_account", {"customer_id": "c-1"})
        sent = [one for one in desk.done() if one["tool"].startswith("http ")]
    assert "find_customer" in listed and "close_account" not in listed  # noqa: PT018 - one thing
    assert "mara.lindt" in str(found.content)
    assert "4111111111111111" not in str(found)
    assert refused.is_error and desk.done("close_account") == []  # noqa: PT018 - one thing
    assert {one["authorization"] for one in sent} == {f"Bearer {token.read_text()}"}
    if mode == "legacy":
        assert sent[-1]["tool"] == "http DELETE" and sent[-1]["mcp-session-id"]  # noqa: PT018 - one thing
        assert sent[-1]["mcp-protocol-version"] == "2025-11-25"


async def test_progress_of_a_server_reaches_the_client(desk: Scene) -> None:
    heard: list[float] = []

    async def progress(done: float, _total: float | None, _said: str | None) -> None:
        heard.append(done)

    with served(desk) as url:
        async with Client(proxied(desk, url), mode="legacy") as client:
            counted = await client.call_tool("count", {"to": 3}, progress_callback=progress)
    assert "counted to 3" in str(counted.content)
    assert heard == [1, 2, 3]


async def test_a_server_that_is_not_there_is_told_of(desk: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/mcp"
    with pytest.raises(Exception, match=r"cannot be reached|TaskGroup"):
        async with Client(proxied(desk, url), mode="legacy") as client:
            await client.list_tools()


async def asked(reply: bytes, token: str = "", folder: Path | None = None) -> jsonrpc.Message:
    """Ask a server that answers with these bytes."""
    file = None
    if folder is not None:
        file = folder / "token"
        file.write_text(token)

    with server(lambda connection: connection.sendall(reply)) as port:
        one = HttpServer("odd", Address(f"http://127.0.0.1:{port}/mcp", file), lambda *_: None, lambda _: None, LIMIT)
        await one.start()
        try:
            return await one.ask(1, jsonrpc.request(1, "tools/list", {}))
        finally:
            await one.stop()


JSON, STREAM = "Content-Type: application/json\r\n", "Content-Type: text/event-stream\r\n"
ELSEWHERE = "Location: http://127.0.0.1:1/mcp\r\n"


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (answer(b'{"jsonrpc":"2.0","id":1,"result":{"a":"' + b"x" * LIMIT + b'"}}', headers=JSON), "withheld"),
        (answer(b"data: " + b"x" * (LIMIT + 9), headers=STREAM), "withheld"),
        (answer(b"data: x\n" * LIMIT, headers=STREAM), "withheld"),
        (answer(b'{"jsonrpc":"2.0","id":2,"result":{}}', headers=JSON), "it is none to 1"),
        (answer(b'{"jsonrpc":"2.0","id":"1","result":{}}', headers=JSON), "it is none to 1"),
        (answer(b'{"jsonrpc":"2.0","id":1,"id":1,"result":{}}', headers=JSON), "it is none to 1"),
        (answer(b'data: {"jsonrpc":"2.0","id":1,"id":1,"result":{}}\n\n', headers=STREAM), "twice"),
        (answer(b'[{"jsonrpc":"2.0","id":1,"result":{}}]', headers=JSON), "it is none to 1"),
        (answer(b"<html>", headers="Content-Type: text/html\r\n"), "it is none to 1"),
        (answer(b"", status="307 Temporary Redirect", headers=ELSEWHERE), "sends elsewhere"),
        (answer(b"", status="401 Unauthorized"), "HTTP 401"),
        (answer(b'{"jsonrpc":"2.0","id":1,"result":{}}', status="500 Oh", headers=JSON), "HTTP 500"),
        (answer(b"data: {}", headers=STREAM), "hung up"),
        (b"", "cannot be reached"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nContent-Type: application/json\r\n\r\n{", "cannot be reached"),
        (b"nonsense\r\n\r\n", "cannot be reached"),
    ],
)
async def test_what_is_no_answer_is_withheld(reply: bytes, why: str) -> None:
    with pytest.raises(ServerGoneError, match=why):
        await asked(reply)


async def test_an_error_of_the_protocol_with_a_status_is_passed_on() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}'
    assert (await asked(answer(body, status="404 Not Found", headers=JSON))).raw == body


@pytest.mark.parametrize("audience", ["https://other.example/mcp", [], ["https://127.0.0.1/mcp"], ""])
async def test_a_token_for_somebody_else_is_shown_to_nobody(audience: Any, tmp_path: Path) -> None:
    with pytest.raises(ServerGoneError, match="is for"):
        await asked(answer(b"{}"), jwt(audience), tmp_path)


@pytest.mark.parametrize(
    "url", ["http://crm.corp.example/mcp", "ftp://127.0.0.1/", "https://u:p@crm.example/", "https://", "https://[/"]
)
async def test_an_address_without_tls_or_with_secrets_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|https"):
        Address(url)
