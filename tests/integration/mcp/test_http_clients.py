"""Clients that reach the proxy over HTTP are governed as those that start it, each as whom its token proves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role

from tests.integration.mcp.test_http_servers import served
from tests.scenes.mcp.mcp_front import MODERN, Front, Listening, front, modern
from tests.scenes.mcp.mcp_scene import DESK, DESK_AGENT, PROMPT, Scene, scene

pytestmark = pytest.mark.asyncio
OTHER_AGENT = "spiffe://corp.example/agent/nobody-registered"
SOURCES = {"aisecops/sources": [{"kind": "user_prompt", "content": PROMPT}]}
MAIL = {"to": "mara.lindt@lindt-keramik.example", "subject": "T-5519", "body": "Done."}


@pytest.fixture(scope="module")
def desk() -> Iterator[Scene]:
    with scene() as running:
        yield running


@pytest.fixture(scope="module")
def listening(desk: Scene) -> Iterator[Front]:
    with front(Listening(desk)) as running:
        yield running


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_a_client_is_allowed_denied_and_shown_what_it_may_see(listening: Front, mode: str) -> None:
    before = len(listening.scene.done("close_account"))
    async with listening.client(mode=mode) as client:
        listed = {tool.name for tool in (await client.list_tools()).tools}
        found = await client.call_tool("find_customer", {"query": "lindt"})
        refused = await client.call_tool("close_account", {"customer_id": "c-1"})
    assert "find_customer" in listed and "close_account" not in listed  # noqa: PT018 - one thing
    assert "mara.lindt" in str(found.content)
    assert "4111111111111111" not in str(found)
    assert refused.is_error and refused.meta["aisecops/decision"]["outcome"] == "DENY"  # noqa: PT018 - one thing
    assert len(listening.scene.done("close_account")) == before


async def test_who_asks_is_whom_the_token_proves(listening: Front) -> None:
    async with listening.client(listening.token(OTHER_AGENT), mode="legacy") as client:
        assert (await client.list_tools()).tools == []
        refused = await client.call_tool("find_customer", {"query": "lindt"})
    assert refused.meta["aisecops/decision"]["outcome"] == "DENY"
    decided = await listening.scene.events(trace=refused.meta["aisecops/decision"]["traceId"])
    assert OTHER_AGENT in json.dumps(decided)


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_what_a_tool_returned_counts_in_the_calls_after_it(listening: Front, mode: str) -> None:
    """Also without a handshake, and for another program of the same agent: else hanging up would launder."""
    async with listening.client(mode=mode) as client:
        await client.call_tool("read_ticket", {"ticket_id": "T-5519"})
        if mode == "legacy":
            late = await client.call_tool("send_mail", {**MAIL, "to": "recovery-desk@data-rescue.example"})
    if mode == MODERN:
        async with listening.client(mode=mode) as another:
            late = await another.call_tool("send_mail", {**MAIL, "to": "recovery-desk@data-rescue.example"})
    assert late.is_error
    assert late.meta["aisecops/decision"]["outcome"] in ("DENY", "REQUIRE_APPROVAL")


async def test_a_server_asks_the_person_at_the_client_and_progress_comes_on_the_stream_of_its_call(
    listening: Front,
) -> None:
    async with listening.wire() as wire:
        await wire.begin({"elicitation": {}})
        counted = await wire.ask(
            2, "tools/call", {"name": "count", "arguments": {"to": 3}, "_meta": {"progressToken": "p"}}
        )
        assert [one["params"]["progress"] for one in counted.messages[:-1]] == [1, 2, 3]
        assert "counted to 3" in json.dumps(counted.messages[-1])
        # What policy does not let the server ask is refused to it, and the session goes on.
        asked = await wire.call(3, "ask_back")
        assert "desk/elicitation.create" in json.dumps(asked)
        assert (await wire.ask(4, "ping")).json["result"] == {}


async def test_two_programs_of_one_agent_may_use_the_same_ids_where_there_are_no_sessions(listening: Front) -> None:
    params = {"name": "count", "arguments": {"to": 40}}
    body, headers = modern(1, "tools/call", params)
    body["params"]["_meta"]["progressToken"] = 1

    async def one() -> Any:
        async with listening.wire() as wire:
            return await wire.send("POST", body, **{name.replace("-", "_"): value for name, value in headers.items()})

    heard = await asyncio.gather(*(one() for _ in range(8)))
    for answer in heard:
        assert answer.json["id"] == 1, answer.body
        assert "counted to 40" in json.dumps(answer.json)
        told = [message["params"] for message in answer.messages[:-1]] if len(answer.messages) > 1 else []
        assert {message["progressToken"] for message in told} <= {1}
        assert [message["progress"] for message in told] == sorted({message["progress"] for message in told})


async def test_a_call_waits_for_people_and_is_made_when_they_agreed(listening: Front) -> None:
    arguments = {"order_id": "o-1", "amount": 5}
    async with listening.wire() as wire:
        await wire.begin()
        call = {"name": "refund", "arguments": arguments, "_meta": SOURCES}
        first = (await wire.ask(1, "tools/call", call)).json["result"]
        assert first["_meta"]["aisecops/decision"]["outcome"] == "REQUIRE_APPROVAL"
        await listening.scene.answer(first["_meta"]["aisecops/decision"]["approvalId"])
        second = (await wire.ask(2, "tools/call", call)).json["result"]
    assert second["content"][0]["text"] == "refunded 5"


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_http_on_both_sides_shows_no_server_the_callers_token(desk: Scene, tmp_path: Path, mode: str) -> None:
    desk.journal.unlink(missing_ok=True)
    with served(desk) as url, front(Listening(desk, ("--upstream", f"desk={url}"), line=())) as running:
        token = running.token()
        async with running.client(token, mode=mode) as client:
            assert "mara.lindt" in str((await client.call_tool("find_customer", {"query": "lindt"})).content)
        sent = [one for one in desk.done() if one["tool"].startswith("http ")]
    assert sent
    assert token not in json.dumps(sent)
    assert all("authorization" not in one for one in sent)


async def test_with_an_identity_provider_a_token_names_the_proxy_and_the_control_plane(desk: Scene) -> None:
    """Here the provider's keys are a file, and nothing on the proxy's side could make a token."""
    keys = {"AISECOPS_TOKEN_KEYS": str(desk.settings.state_dir / "keys/tokens.jwks.json")}
    with front(Listening(desk, environment=keys)) as running:
        mint = issuer(desk.settings.model_copy(update={"token_audience": [running.url, "aisecops"]})).mint
        async with running.client(mint(DESK_AGENT, (Role.AGENT,)), mode="legacy") as client:
            assert "mara.lindt" in str((await client.call_tool("find_customer", {"query": "lindt"})).content)
        async with running.wire(running.token()) as wire:
            refused = await wire.ask(1, "initialize", {"protocolVersion": "2025-11-25"})
        assert refused.status == 401


async def test_servers_of_a_file_are_started_or_reached_as_it_says(desk: Scene, tmp_path: Path) -> None:
    with served(desk) as url:
        file = tmp_path / "servers.json"
        entries = {
            "desk": {"type": "http", "url": url},
            "second": {"command": DESK[0], "args": list(DESK[1:]), "env": {"DESK_JOURNAL": str(desk.journal)}},
        }
        file.write_text(json.dumps({"mcpServers": entries}), encoding="utf-8")
        with front(Listening(desk, ("--servers", str(file)), line=())) as running:
            async with running.client(mode="auto") as client:
                names = {tool.name for tool in (await client.list_tools()).tools}
                found = await client.call_tool("desk__find_customer", {"query": "lindt"})
                refused = await client.call_tool("second__find_customer", {"query": "lindt"})
    assert "desk__find_customer" in names
    assert not any(name.startswith("second__") for name in names)
    assert "mara.lindt" in str(found.content)
    assert refused.meta["aisecops/decision"]["outcome"] == "DENY"


async def test_on_this_machine_one_agent_can_stand_for_whoever_comes(desk: Scene) -> None:
    with front(Listening(desk, agent=DESK_AGENT)) as running:
        async with running.wire("") as wire:
            await wire.begin()
            assert "mara.lindt" in json.dumps(await wire.call(1, "find_customer", query="lindt"))
    assert f"whoever reaches {running.url} on this machine is {DESK_AGENT}" in running.told
