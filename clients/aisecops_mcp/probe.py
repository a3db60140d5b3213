"""Asking a server by itself which tools it has, for people who decide what may be used of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from aisecops_mcp import jsonrpc
from aisecops_mcp.joint import Joint
from aisecops_mcp.jsonrpc import Message
from aisecops_mcp.naming import Naming
from aisecops_mcp.opening import Reached, server_at
from aisecops_mcp.talk import Say
from aisecops_mcp.upstream import ServerGoneError, Upstream

VERSION = "2025-11-25"


async def tools_of(name: str, where: Reached, say: Say, *, limit: int, seconds: float) -> list[Mapping[str, Any]]:
    """Start a server or reach it, return the tools that it lists, and end it.

    Raises:
        ServerGoneError: it cannot be started, or does not answer.
    """

    def heard(_server: Upstream, _message: Message) -> None:
        """Nothing that it says of itself matters here."""

    server = server_at(name, where, heard, say, limit=limit)
    try:
        await server.start()
        async with asyncio.timeout(seconds):
            about = {"name": "aisecops", "version": metadata.version("aisecops")}
            hello = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": about}
            await server.ask("hello", jsonrpc.request("hello", "initialize", hello))
            await server.tell(jsonrpc.notification("notifications/initialized", {}))
            found = await Joint({name: server}, Naming((name,)), say, {}).entries(server, "tools/list")
    except TimeoutError as error:
        raise ServerGoneError(f"the server {name} gave no answer in {seconds:g} s") from error
    finally:
        await server.stop()
    return [entry for entry in found if isinstance(entry, Mapping)]
