"""The demo's part about tool servers: an MCP client and server of the official SDK, with the proxy between them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from aisecops_server.demo.controls import Controlled
from aisecops_server.demo.screen import Screen
from aisecops_server.demo.stage import Stage

if TYPE_CHECKING:
    from mcp import Client

_AGENT = "spiffe://corp.example/agent/support-assistant"
_ASKED = "Read ticket T-5519 and comment on it that the parcel is on its way."
_SERVER = ("-m", "aisecops_server.demo.ticket_server")


async def play_tool_server(screen: Screen, stage: Stage) -> Sequence[str]:
    """Play the part and return what was not as expected."""
    screen.area("A tool server, governed without a change")
    if util.find_spec("mcp") is None:
        screen.say("left out: it takes the extra 'mcp'")
        return []
    from mcp import Client  # noqa: PLC0415
    from mcp.client.stdio import stdio_client  # noqa: PLC0415

    found = Controlled()
    with contextlib.closing(_nowhere()) as quiet, screen.waiting("an MCP client starts its server"):
        async with Client(stdio_client(_parameters(stage), errlog=quiet)) as client:
            await _use(screen, client, found)
    return found.problems


def _nowhere() -> TextIO:
    """Return where the proxy's remarks go: what the demo shows is what it checks."""
    return Path(os.devnull).open("w", encoding="utf-8")


async def _use(screen: Screen, client: Client, found: Controlled) -> None:
    names = [tool.name for tool in (await client.list_tools()).tools]
    screen.done(f"an MCP client is shown the tools {', '.join(names)}", "its server has purge as well")
    found.expect(that=names == ["read", "comment"], otherwise=f"the MCP client was shown {names}")
    human: Any = {"aisecops/sources": [{"kind": "user_prompt", "content": _ASKED}]}
    read = await client.call_tool("read", {"ticket_id": "T-5519"}, meta=human)
    found.expect(that=not read.is_error, otherwise="the ticket could not be read over MCP")
    words = {"ticket_id": "T-5519", "body": "The parcel is on its way."}
    answered = await client.call_tool("comment", words)
    found.expect(that=not answered.is_error, otherwise="the ticket could not be answered over MCP")
    screen.done("read and comment were decided, granted and made", "tickets/read, tickets/comment")
    purged = await client.call_tool("purge", {})
    rules = dict(purged.meta or {}).get("aisecops/decision", {}).get("rules", [])
    found.expect(that=purged.is_error and bool(rules), otherwise="purge was let through over MCP")
    screen.refused("purge, which only the ticket asked for, never reached the server", ", ".join(rules[:1]))


def _parameters(stage: Stage) -> Any:
    from mcp import StdioServerParameters  # noqa: PLC0415

    line = ["--name", "tickets", "--server", stage.address, "--token-file", str(stage.agent_token_file(_AGENT))]
    command = [sys.executable, *_SERVER]
    # What the demo was started with does not matter to the proxy, except where programs and this package are found.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "aisecops_server", "mcp", "proxy", *line, "--", *command],
        env=environment,
    )
