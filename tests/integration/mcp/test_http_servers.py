"""Servers that are reached over Streamable HTTP are governed as those that are started, with tokens of their own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aisecops_mcp import jsonrpc
from aisecops_mcp.http_address import Address
from aisecops_mcp.http_server import HttpServer
from aisecops_mcp.upstream import ServerGoneError
from mcp import Client, StdioServerParameters
from mcp.types import ElicitResult

from tests.scenes.mcp.mcp_scene import ROOT, Scene, scene
from tests.scenes.servers.http_server import answer, server

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


async def test_a_configuration_with_a_server_at_an_address_is_wrapped_used_and_put_back(desk: Scene) -> None:
    path, token = desk.root / "client.json", desk.root / "desk-own.token"
    with served(desk) as url:
        token.write_text(jwt(url))
        before = (
            '// of an editor\n{"servers": {"desk": {"type": "http", "url": "' + url + '",\n'
            ' "headers": {"Authorization": "Bearer the-clients-own"}, "gallery": true},}}\n'
        ).encode()
        path.write_bytes(before)
        given = ("--upstream-token", f"desk={token}", "--approval-seconds", "7")
        page = ("--approvals-url", "https://control.corp.example")
        assert "governed: desk" in wrapped(desk, path, *desk.options, *given, *page)
        entry = json.loads(path.read_bytes())["servers"]["desk"]
        assert entry.keys() == {"type", "command", "args", "env", "gallery"}
        assert (entry["type"], "the-clients-own" in path.read_text()) == ("stdio", False)
        assert entry["args"][-4:] == ["--upstream", f"desk={url}", "--upstream-token", f"desk={token}"]
        assert ("--approval-seconds", "7") in itertools.pairwise(entry["args"])
        assert page in itertools.pairwise(entry["args"])
        asked: list[str] = []

        async def elicited(_context: object, params: Any) -> ElicitResult:
            asked.append(params.url)
            return ElicitResult(action="decline")

        started = StdioServerParameters(
            command=entry["command"], args=entry["args"], env={**desk.environment(), **entry["env"]}
        )
        async with Client(started, mode="legacy", elicitation_callback=elicited) as client:
            found = await client.call_tool("find_customer", {"query": "lindt"})
            await client.call_tool("refund", {"order_id": "O-1", "amount": 3})
        assert "mara.lindt" in str(found.content)
        sent = {one.get("authorization") for one in desk.done() if one["tool"].startswith("http ")}
        assert f"Bearer {token.read_text()}" in sent
        assert "Bearer the-clients-own" not in sent
        assert [one.partition("/approvals/")[0] for one in asked] == ["https://control.corp.example"]
    wrapped(desk, path, "--undo")
    assert path.read_bytes() == before


def wrapped(running: Scene, path: Path, *options: str) -> str:
    """Have a configuration wrapped, or put back, by the command line."""
    line = (sys.executable, "-m", "aisecops_server", "mcp", "wrap", str(path), *options)
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True, env=running.environment())
    return done.stdout


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


class Scripted:
    """A server that gives one answer after another, each on a connection of its own; ``None`` never answers."""

    def __init__(self, *replies: bytes | None) -> None:
        self.replies = list(replies)
        self.heads: list[str] = []
        self.said: list[str] = []
        self.asked = asyncio.Event()

    async def heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        self.asked.set()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length.group(1)) if length else 0)
        reply = self.replies.pop(0)
        if reply is None:
            # Until the caller hangs up.
            await reader.read()
        else:
            writer.write(reply)
        writer.close()

    @contextlib.asynccontextmanager
    async def reached(self, token: Path | None = None) -> AsyncIterator[HttpServer]:
        listening = await asyncio.start_server(self.heard, "127.0.0.1", 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            one = HttpServer(
                "odd", Address(f"http://127.0.0.1:{port}/mcp", token), lambda *_: None, self.said.append, LIMIT
            )
            await one.start()
            try:
                yield one
            finally:
                await one.stop()


CLOSED = "Connection: close\r\n"


def result(id: int, headers: str = "") -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": "2025-11-25"}}).encode()
    return answer(body, headers=JSON + CLOSED + headers)


async def test_a_call_that_nobody_answers_can_be_given_up_and_its_id_used_again() -> None:
    script = Scripted(None, result(1))
    async with script.reached() as one:
        hanging = asyncio.create_task(one.ask(1, jsonrpc.request(1, "tools/list", {})))
        async with asyncio.timeout(60):
            await script.asked.wait()
            with pytest.raises(ServerGoneError, match="under way"):
                await one.ask(1, jsonrpc.request(1, "tools/list", {}))
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)
            assert (await one.ask(1, jsonrpc.request(1, "tools/list", {}))).id == 1


async def test_a_stream_that_breaks_is_resumed_after_its_last_event_and_nothing_is_posted_twice() -> None:
    progress = b'id: 7\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n'
    found = b'id: 8\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n'
    script = Scripted(answer(progress, headers=STREAM + CLOSED), answer(found, headers=STREAM + CLOSED))
    async with script.reached() as one:
        assert (await one.ask(1, jsonrpc.request(1, "tools/call", {"name": "pay"}))).id == 1
    assert [head.split()[0] for head in script.heads] == ["POST", "GET"]
    assert "last-event-id: 7" in script.heads[1].lower()


async def test_a_stream_that_breaks_without_an_event_to_resume_after_is_not_asked_again() -> None:
    script = Scripted(answer(b"", headers=STREAM + CLOSED))
    async with script.reached() as one:
        with pytest.raises(ServerGoneError, match="hung up before it answered"):
            await one.ask(1, jsonrpc.request(1, "tools/call", {"name": "pay"}))
    assert len(script.heads) == 1


async def test_a_token_that_was_renewed_is_shown_once_the_old_one_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    refused = answer(b"", status="401 Unauthorized", headers=CLOSED)
    script = Scripted(refused, result(1), refused)
    async with script.reached(token) as one:
        token.write_text("new")
        assert (await one.ask(1, jsonrpc.request(1, "tools/list", {}))).id == 1
        # Nothing newer is there, so nobody knocks a second time.
        with pytest.raises(ServerGoneError, match="HTTP 401"):
            await one.ask(2, jsonrpc.request(2, "tools/list", {}))
    shown = [re.search(r"authorization: bearer (\S+)", head, re.IGNORECASE) for head in script.heads]
    assert [found.group(1) for found in shown if found] == ["old", "new", "new"]


async def test_a_session_is_named_ended_and_not_begun_again_behind_the_clients_back() -> None:
    gone = answer(b"", status="404 Not Found", headers=CLOSED)
    script = Scripted(result(1, "Mcp-Session-Id: s-1\r\n"), gone, answer(b"", headers=CLOSED))
    async with script.reached() as one:
        await one.ask(1, jsonrpc.request(1, "initialize", {}))
        with pytest.raises(ServerGoneError, match="has ended the session; connect anew"):
            await one.ask(2, jsonrpc.request(2, "tools/list", {}))
    assert [head.split()[0] for head in script.heads] == ["POST", "POST", "DELETE"]
    assert ["mcp-session-id: s-1" in head.lower() for head in script.heads] == [False, True, True]
