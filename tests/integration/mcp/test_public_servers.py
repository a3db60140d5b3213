"""Public MCP servers behind the proxy: with everything allowed they answer as bare ones do; otherwise policy holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters

from tests.mcp_servers.public import Calls, everything, fetch, files, git, memory, time
from tests.scenes.mcp.mcp_packages import pypi_server
from tests.scenes.mcp.mcp_scene import DESK_AGENT, Scene, scene

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


@pytest.fixture(scope="module")
def observed() -> Iterator[Scene]:
    """A policy that only observes the agent: everything is allowed, and on record."""
    with scene(modes=f"default: enforce\nagents: {{{DESK_AGENT}: observe}}\nrules: {{}}\n") as running:
        yield running


@pytest.fixture(scope="module")
def enforced() -> Iterator[Scene]:
    with scene() as running:
        yield running


async def session(parameters: Any, calls: Calls) -> dict[str, Any]:
    """Return everything that a client sees of a server that it starts."""
    async with Client(parameters) as client:
        return await seen_by(client, calls)


async def seen_by(client: Client, calls: Calls) -> dict[str, Any]:
    """Return everything that a connected client sees of a server."""
    capabilities = client.server_capabilities
    found: dict[str, Any] = {"tools": [tool.model_dump() for tool in (await client.list_tools()).tools]}
    if capabilities.resources:
        found["resources"] = [one.model_dump() for one in (await client.list_resources()).resources]
    if capabilities.prompts:
        found["prompts"] = [one.model_dump() for one in (await client.list_prompts()).prompts]
    found["calls"] = []
    for name, arguments in calls:
        try:
            result = (await client.call_tool(name, arguments)).model_dump()
        except Exception as error:  # noqa: BLE001 - an error is what is compared
            result = str(error)
        found["calls"].append((name, result))
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", [files, memory, everything, git, time, fetch], ids=lambda server: server.__name__)
async def test_with_everything_allowed_a_server_is_the_same_behind_the_proxy(
    observed: Scene, tmp_path: Path, server: Callable[[Path], tuple[tuple[str, ...], Calls]]
) -> None:
    line, calls = server(tmp_path)
    # Each run of the memory server has a memory of its own.
    environment = {**observed.environment(), "MEMORY_FILE_PATH": str(tmp_path / "bare.jsonl")}
    bare = await session(StdioServerParameters(command=line[0], args=list(line[1:]), env=environment), calls)
    proxied = observed.proxy(*line, name=server.__name__, MEMORY_FILE_PATH=str(tmp_path / "proxied.jsonl"))
    assert await session(proxied, calls) == bare
    ran = [
        event
        for event in await observed.events("grant.redeemed")
        if event["details"]["tool"].startswith(server.__name__)
    ]
    assert len(ran) >= len(calls)


async def test_a_public_server_does_not_see_a_call_that_policy_denies(enforced: Scene, tmp_path: Path) -> None:
    line, calls = files(tmp_path)
    before = [path.stat().st_mtime_ns for path in (tmp_path / "files").iterdir()]
    async with Client(enforced.proxy(*line, name="files")) as client:
        assert (await client.list_tools()).tools == []
        for name, arguments in calls:
            result = await client.call_tool(name, arguments)
            assert result.meta["aisecops/decision"]["outcome"] == "DENY"
    assert [path.stat().st_mtime_ns for path in (tmp_path / "files").iterdir()] == before


async def test_several_public_servers_are_one_whose_tools_say_whose_they_are(observed: Scene, tmp_path: Path) -> None:
    line, [(name, arguments), *_] = files(tmp_path)
    config = {
        "mcpServers": {"files": {"command": line[0], "args": line[1:]}, "time": {"command": pypi_server("time")[0]}}
    }
    (tmp_path / "mcp.json").write_text(json.dumps(config), encoding="utf-8")
    proxy = StdioServerParameters(
        command=sys.executable,
        args=["-m", "aisecops_server", "mcp", "proxy", *observed.options, "--servers", str(tmp_path / "mcp.json")],
        env=observed.environment(),
    )
    async with Client(proxy) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"files__read_text_file", "time__convert_time"} <= names
        assert "hello" in (await client.call_tool(f"files__{name}", arguments)).content[0].text
        when = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "UTC"}
        assert not (await client.call_tool("time__convert_time", when)).is_error
        with pytest.raises(MCPError, match="names begin with that of a server"):
            await client.call_tool(name, arguments)
    assert {event["details"]["tool"] for event in await observed.events("execution.executed")} >= {
        f"files/{name}",
        "time/convert_time",
    }
