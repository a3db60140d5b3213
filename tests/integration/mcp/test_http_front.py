"""What the proxy that listens does not take, from whom, and what a client that lost its connection gets back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.domain.callers.identity import Role

from tests.scenes.mcp.mcp_front import Front, Listening, front, modern, request
from tests.scenes.mcp.mcp_scene import DESK_AGENT, Scene, scene

pytestmark = pytest.mark.asyncio
OTHER_AGENT = "spiffe://corp.example/agent/another"
LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def desk() -> Iterator[Scene]:
    with scene() as running:
        yield running


@pytest.fixture(scope="module")
def listening(desk: Scene) -> Iterator[Front]:
    with front(Listening(desk, ("--message-bytes", str(LIMIT)))) as running:
        yield running


# --- who -------------------------------------------------------------------------------------------------------------


async def test_without_a_token_a_client_learns_where_to_get_one_and_nothing_else(listening: Front) -> None:
    async with listening.wire("") as wire:
        refused = await wire.ask(1, "tools/list")
        assert refused.status == 401
        assert "result" not in refused.json
        challenge = refused.headers["WWW-Authenticate"]
        where = challenge.partition('resource_metadata="')[2].partition('"')[0]
        async with wire.http.get(where) as answer:
            assert (await answer.json())["resource"] == listening.url


async def test_a_token_that_is_old_anothers_or_for_another_is_refused(listening: Front) -> None:
    wrong = {
        "audience": listening.token(url="https://elsewhere.example/mcp"),
        "control plane's own": listening.scene.token(DESK_AGENT),
        "no agent": listening.token("auditor@corp.example", Role.AUDITOR),
        "forged": listening.token()[:-6] + "AAAAAA",
        "none": "not-a-token",
    }
    statuses = {}
    for why, token in wrong.items():
        async with listening.wire(token) as wire:
            heard = await wire.ask(1, "initialize", {"protocolVersion": "2025-11-25"})
        statuses[why] = heard.status
        assert 'error="in' in heard.headers["WWW-Authenticate"]
        assert token not in heard.body.decode() + str(heard.headers)
    assert statuses == {"audience": 401, "control plane's own": 401, "no agent": 403, "forged": 401, "none": 401}


async def test_a_token_that_has_expired_proves_nobody_and_a_newer_one_goes_on_with_the_session(
    listening: Front,
) -> None:
    async with listening.wire() as wire:
        await wire.begin()
        heard = await wire.ask(1, "ping", Authorization=f"Bearer {listening.token(seconds_ago=7200)}")
        assert heard.status == 401
        assert "expired" in heard.headers["WWW-Authenticate"]
        # The session is the agent's, whatever token proves it.
        newer = await wire.ask(2, "ping", Authorization=f"Bearer {listening.token(seconds=600)}")
    assert newer.json["result"] == {}


async def test_a_session_is_nobodys_but_whose_it_is(listening: Front) -> None:
    async with listening.wire() as wire, listening.wire(listening.token(OTHER_AGENT)) as thief:
        await wire.begin()
        thief.session, thief.version = wire.session, wire.version
        unknown = await thief.ask(1, "tools/list", Mcp_Session_Id="0" * 32)
        stolen = await thief.ask(1, "tools/list")
        assert (stolen.status, stolen.body) == (unknown.status, unknown.body)
        assert stolen.status == 404
        assert (await thief.send("GET")).status == 404
        assert (await thief.send("DELETE")).status == 404
        assert (await wire.ask(1, "ping")).json["result"] == {}
        assert (await wire.send("DELETE")).status == 204
        assert (await wire.ask(2, "ping")).status == 404


# --- from where ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Host", "evil.example", 421),
        ("Host", "127.0.0.1.evil.example:80", 421),
        ("Host", "", 421),
        ("Host", "[::1", 421),
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Origin", "http://localhost:1", 403),
        ("Origin", "https://127.0.0.1", 403),
        ("Origin", "http://127.0.0.1@evil.example", 403),
        ("Origin", "http://127.0.0.1:x", 403),
        ("Content-Type", "text/plain", 415),
        ("Content-Encoding", "gzip", 415),
        ("Accept", "application/json", 406),
        ("Accept", "text/event-stream", 406),
    ],
)
async def test_what_a_page_of_others_could_send_is_refused(
    listening: Front, header: str, value: str, status: int
) -> None:
    async with listening.wire() as wire:
        heard = await wire.ask(1, "initialize", {"protocolVersion": "2025-11-25"}, **{header.replace("-", "_"): value})
    assert heard.status == status, heard.body
    assert "Mcp-Session-Id" not in heard.headers
    assert not [name for name in heard.headers if name.lower().startswith("access-control")]


async def test_a_page_of_its_own_may_ask(listening: Front) -> None:
    port = listening.url.partition("127.0.0.1:")[2].partition("/")[0]
    async with listening.wire() as wire:
        for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
            assert (await wire.ask(1, "initialize", params, Origin=origin)).status == 200


# --- what ------------------------------------------------------------------------------------------------------------

SMUGGLED = {"jsonrpc": "2.0", "id": 9, "method": "tools/call"}
CALL = json.dumps({**SMUGGLED, "params": {"name": "close_account", "arguments": {"customer_id": "c-9"}}})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[]", "batches"),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', "batches"),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', "twice"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', "an id"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', "both"),
        (b'{"id":1,"method":"ping"}', "not a JSON-RPC"),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}', "not JSON"),
        (b"[" * 40_000, "not JSON"),
        ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"), "not JSON"),
    ],
)
async def test_what_is_no_message_is_refused_and_the_session_goes_on(listening: Front, body: bytes, why: str) -> None:
    async with listening.wire() as wire:
        await wire.begin()
        heard = await wire.send("POST", body)
        assert heard.status == 400
        assert why in heard.json["error"]["message"]
        assert (await wire.ask(3, "ping")).json["result"] == {}


async def test_no_message_hides_in_another_ones_lines(listening: Front) -> None:
    """A server that is started reads lines: a part of a message must not be one."""
    before = len(listening.scene.done("close_account"))
    hidden = f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":\n{CALL}\n}}}}'.encode()
    wide = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping", "params": {"x": "·"}})
    # The same in a coding of two bytes each, where the text of a value has the bytes of a line.
    inside = f"\n{CALL} \n".encode()
    smuggled = wide.encode("utf-16-le").replace("·".encode("utf-16-le"), inside + b" " * (len(inside) % 2))
    async with listening.wire() as wire:
        await wire.begin()
        assert (await wire.send("POST", hidden)).json["result"] == {}
        assert (await wire.send("POST", smuggled)).status == 400
        assert "mara" in json.dumps(await wire.call(3, "find_customer", query="lindt"))
    assert len(listening.scene.done("close_account")) == before


async def test_a_body_that_is_too_long_is_not_read(listening: Front) -> None:
    huge = json.dumps(request(1, "ping", {"x": "x" * (50 * 1024 * 1024)})).encode()
    before = memory_of(listening)
    async with listening.wire() as wire:
        heard = await wire.send("POST", huge)
        assert (heard.status, "65536 bytes" in heard.body.decode()) == (413, True)

        async def chunks() -> Any:
            for _ in range(64):
                yield b" " * 4096

        async with wire.http.post(wire.url, data=chunks(), headers=wire.headers) as answer:
            assert answer.status == 413
    assert memory_of(listening) - before < 32 * 1024 * 1024


def memory_of(running: Front) -> int:
    """Return how many bytes the proxy holds."""
    return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) * 4096


async def test_ids_that_are_in_use_are_refused_and_old_ones_are_new_requests(listening: Front) -> None:
    async with listening.wire() as wire, listening.wire() as second:
        await wire.begin()
        second.session, second.version = wire.session, wire.version
        call = {"name": "wait_long", "arguments": {}, "_meta": {"progressToken": "p"}}
        async with wire.http.post(wire.url, json=request(7, "tools/call", call), headers=wire.headers) as waiting:
            await told(waiting, "begun")
            assert (await second.ask(7, "ping")).status == 400
            assert (await second.ask("aisecops-1", "ping")).status == 400
            assert (await second.ask(8, "ping", {"_meta": {"progressToken": "p"}})).status == 400
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
            assert (await second.send("POST", cancel)).status == 202
            assert b'"result"' not in await waiting.read()
        assert (await second.ask(7, "ping")).json["result"] == {}
        assert (await second.ask(7, "ping")).json["result"] == {}


async def told(answer: Any, text: str) -> bytes:
    """Return what a stream said up to a text."""
    said = b""
    while text.encode() not in said:
        chunk = await answer.content.readany()
        assert chunk, said
        said += chunk
    return said


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Mcp-Method": "tools/list"}, -32020),
        ({"Mcp-Name": "send_mail"}, -32020),
        ({"MCP-Protocol-Version": "2027-01-01"}, -32020),
        ({"Mcp-Name": "=?base64?c2VuZF9tYWls?="}, -32020),
        ({"Mcp-Method": None}, -32020),
        ({"MCP-Protocol-Version": None}, -32020),
    ],
)
async def test_headers_that_say_something_else_than_the_body_are_refused(
    listening: Front, change: dict[str, str | None], code: int
) -> None:
    body, headers = modern(1, "tools/call", {"name": "find_customer", "arguments": {"query": "lindt"}})
    sent: dict[str, str | None] = {**headers, **change}
    async with listening.wire() as wire:
        heard = await wire.send("POST", body, **{name.replace("-", "_"): value for name, value in sent.items()})
    assert (heard.status, heard.json["error"]["code"]) == (400, code), heard.body


async def test_a_version_that_the_session_does_not_speak_is_refused(listening: Front) -> None:
    async with listening.wire() as wire:
        await wire.begin()
        assert (await wire.ask(1, "ping", MCP_Protocol_Version="2025-06-18")).status == 400
        assert (await wire.ask(2, "initialize", {"protocolVersion": "2025-11-25"})).status == 400


# --- lost connections ------------------------------------------------------------------------------------------------


async def test_a_client_that_hung_up_gets_the_rest_of_its_answer_and_nobody_elses(listening: Front) -> None:
    call = {"name": "count", "arguments": {"to": 3}, "_meta": {"progressToken": "p"}}
    async with listening.wire() as wire, listening.wire() as other:
        await wire.begin()
        await other.begin()
        async with wire.http.post(wire.url, json=request(1, "tools/call", call), headers=wire.headers) as broken:
            seen = await told(broken, '"progress":2')
        first = next(line for line in seen.decode().splitlines() if line.startswith("id: ")).removeprefix("id: ")
        again = await wire.send("GET", Last_Event_ID=first)
        assert "counted to 3" in json.dumps(again.json)
        assert [one["params"]["progress"] for one in again.messages[:-1]] == [1, 2, 3]
        for last, session in ((first, other), ("s99-0", wire), ("s1-99", wire), ("nonsense", wire), ("s1--1", wire)):
            heard = await session.send("GET", Last_Event_ID=last)
            assert heard.status == 400 or "counted" not in heard.body.decode(), (last, heard.body)


async def test_a_client_that_is_gone_mid_call_leaves_the_call_to_its_session_and_else_ends_it(
    listening: Front,
) -> None:
    body, headers = modern(1, "tools/call", {"name": "wait_long", "arguments": {}})
    body["params"]["_meta"]["progressToken"] = "p"
    before = len(listening.scene.done("wait_long"))
    async with listening.wire() as wire:
        async with wire.http.post(wire.url, json=body, headers={**wire.headers, **headers}) as hanging:
            await told(hanging, "begun")
            hanging.close()
        await until(lambda: len(listening.scene.done("wait_long")) > before)


async def test_who_sends_its_request_drop_by_drop_is_hung_up_on(listening: Front) -> None:
    """The head of a request has 15 s; others are served meanwhile."""
    host, _, port = listening.url.removeprefix("http://").partition("/")[0].partition(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(50)]
    try:
        for one in slow:
            one.sendall(b"POST /mcp HTTP/1.1\r\nHost: ")
        async with listening.wire() as wire:
            await wire.begin()
            assert (await wire.ask(1, "ping")).json["result"] == {}
        slow[0].settimeout(60)
        with contextlib.suppress(ConnectionError):
            assert b"200" not in await asyncio.to_thread(slow[0].recv, 4096)
    finally:
        for one in slow:
            one.close()


# --- what is behind --------------------------------------------------------------------------------------------------


async def test_a_server_that_dies_is_told_of_and_starts_again_with_the_next_session(desk: Scene) -> None:
    with front(Listening(desk)) as running:
        async with running.wire() as wire, running.wire() as next_one:
            await wire.begin()
            [server] = children_of(running)
            server.kill()
            heard = await wire.ask(1, "tools/call", {"name": "find_customer", "arguments": {"query": "lindt"}})
            assert "ended with" in json.dumps(heard.json)
            await next_one.begin()
            assert "mara" in json.dumps(await next_one.call(1, "find_customer", query="lindt"))


async def test_without_a_session_a_server_that_died_is_started_again(desk: Scene) -> None:
    with front(Listening(desk)) as running:
        body, headers = modern(1, "tools/call", {"name": "find_customer", "arguments": {"query": "lindt"}})
        async with running.wire() as wire:
            sent = {name.replace("-", "_"): value for name, value in headers.items()}
            assert "mara" in (await wire.send("POST", body, **sent)).body.decode()
            [server] = children_of(running)
            server.kill()
            await until(server.is_gone)
            # The proxy may not have heard of it yet.
            found = [(await wire.send("POST", body, **sent)).body.decode() for _ in range(2)]
            assert "mara" in found[1]


async def until(holds: Callable[[], bool]) -> None:
    """Return when something that another process does has come about."""
    async with asyncio.timeout(60):
        while True:
            if holds():
                return
            await asyncio.sleep(0.05)


class Child:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        subprocess.run(["kill", "-KILL", str(self.pid)], check=True)

    def is_gone(self) -> bool:
        return not Path(f"/proc/{self.pid}").exists()


def children_of(running: Front) -> list[Child]:
    pid = running.process.pid
    return [Child(int(one)) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_without_a_control_plane_everything_is_denied_and_the_client_lives_on() -> None:
    with contextlib.ExitStack() as plane:
        there = plane.enter_context(scene())
        # With one agent for this machine: the keys of tokens go with the state directory.
        with front(Listening(there, agent=DESK_AGENT)) as running:
            async with running.wire("") as wire:
                await wire.begin()
                assert "mara" in json.dumps(await wire.call(1, "find_customer", query="lindt"))
                assert len(there.done("find_customer")) == 1
                await asyncio.to_thread(plane.close)
                denied = await wire.call(2, "find_customer", query="lindt")
                assert denied["result"]["isError"] is True
                assert "without one nothing is allowed" in denied["result"]["content"][0]["text"]
                assert (await wire.ask(3, "ping")).json["result"] == {}
                assert "error" in (await wire.ask(4, "tools/list")).json


async def test_beyond_this_machine_it_does_not_listen_without_tls_and_tokens(desk: Scene, tmp_path: Path) -> None:
    async def said(*options: str, agent: str = "") -> str:
        command = Listening(desk, options, agent=agent, address="0.0.0.0:0").command
        ran: Any = {"capture_output": True, "text": True, "timeout": 120, "env": desk.environment(), "check": False}
        done = await asyncio.to_thread(subprocess.run, command, **ran)
        assert done.returncode == 2, done.stdout
        return str(done.stderr)

    assert "give it with --url" in await said()
    url = ("--url", "https://mcp.example/mcp")
    assert "--tls-cert" in await said(*url)
    certificate, key = tmp_path / "c.pem", tmp_path / "c.key"
    new = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=a -keyout {key} -out"
    await asyncio.to_thread(subprocess.run, ["openssl", *new.split(), certificate], check=True, capture_output=True)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    assert "a token of its own" in await said(*url, *tls, agent=DESK_AGENT)
    assert "no https:// URL" in await said("--url", "mcp.example", *tls)
