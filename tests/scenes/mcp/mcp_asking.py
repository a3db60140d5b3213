"""Clients that ask the person at them, said word for word, and a server that asks them too."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aisecops.v1 import approval_pb2
from aisecops_mcp.consent import KEY
from aisecops_server.domain.callers.identity import Role

from tests.mcp_servers.hostile import TOOLS
from tests.scenes.mcp.mcp_scene import APPROVER, ROOT, Scene
from tests.scenes.mcp.mcp_wire import Wire, wired

HOSTILE = (sys.executable, str(ROOT / "tests/mcp_servers/hostile.py"))
ENTRY = "{description: Odd., effect: read, reach: internal, result_trust: internal}"
OPENED = (*TOOLS, "elicitation.create")
# The same server twice; what the second one asks of the person at the client has to be approved first.
NAMES = ("odd", "nosy")
QUALIFIED = [f"{server}/{name}" for server in NAMES for name in OPENED]
ODD = {
    "approvals": "  odd/echo: {always: true}\n  nosy/elicitation.create: {always: true}\n",
    "servers": "".join(
        f"\n{name}: {{description: Odd., owner: nobody, environments: [production], tools: catalogued}}\n"
        for name in NAMES
    ),
    "tools": "".join(f"\n{tool}: {ENTRY}" for tool in QUALIFIED) + "\n",
    "capabilities": "\nodd.use:\n  description: Odd.\n  owner: nobody\n  risk: low\n  tools: ["
    + ", ".join(QUALIFIED)
    + "]\n",
    "agents": "    odd.use: {granted_by: nobody}\n",
}
WITHDRAWN = approval_pb2.APPROVAL_STATE_WITHDRAWN
FORM: dict[str, Any] = {"elicitation": {"form": {}}}
ERA = "io.modelcontextprotocol/"


def said(answer: dict[str, Any]) -> str:
    return str(answer["result"]["content"][0]["text"])


def request_in(words: str) -> str:
    found = re.search(r"apr-[0-9a-zA-Z-]*[0-9a-zA-Z]", words)
    assert found, words
    return found[0]


async def shown(desk: Scene, approval_id: str) -> approval_pb2.Approval:
    async with desk.client(APPROVER, Role.SECOPS) as person:
        return (await person.approvals.show(approval_id)).approval


@asynccontextmanager
async def begun(desk: Scene, *options: str, capabilities: dict[str, Any] | None = None) -> AsyncIterator[Wire]:
    """Give a connection of 2025-11-25."""
    async with wired(desk.desk(*options)) as ends:
        await ends.begin(FORM if capabilities is None else capabilities)
        yield ends


def told(number: Any, name: str, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a call of a client of 2026-07-28, which can ask its user."""
    meta = {
        f"{ERA}protocolVersion": "2026-07-28",
        f"{ERA}clientInfo": {"name": "wire", "version": "0"},
        f"{ERA}clientCapabilities": more.pop("capabilities", FORM),
    }
    params = {"name": name, "arguments": arguments, "_meta": meta, **more}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


async def modern(wire: Wire, number: Any, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    name = more.pop("name", "refund")
    wire.say(told(number, name, arguments, **more))
    return await wire.answer(number)


def accepted(asked: dict[str, Any], action: str = "accept") -> dict[str, Any]:
    """Return what goes along when a client comes back with its user's answer."""
    return {"requestState": asked["result"]["requestState"], "inputResponses": {KEY: {"action": action}}}


def call(wire: Wire, number: Any, order: dict[str, Any], name: str = "refund") -> None:
    """Have a client of 2025-11-25 call a tool."""
    params = {"name": name, "arguments": order}
    wire.say({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})


async def question(wire: Wire) -> tuple[Any, str]:
    """Return the id of the next question to the user, and the request for approval that it is about."""
    found = await wire.hears("elicitation/create")
    return found["id"], request_in(found["params"]["message"])


def reply(wire: Wire, number: Any, action: str) -> None:
    wire.say({"jsonrpc": "2.0", "id": number, "result": {"action": action, "content": {}}})


@asynccontextmanager
async def odd(desk: Scene, name: str = "odd") -> AsyncIterator[Wire]:
    async with wired(desk.proxy(*HOSTILE, name=name)) as ends:
        await ends.begin(FORM)
        yield ends
