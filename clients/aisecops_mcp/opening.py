"""Servers, whichever way they are reached, from what says how."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aisecops_mcp.http_address import Address
from aisecops_mcp.http_server import HttpServer
from aisecops_mcp.jsonrpc import Message
from aisecops_mcp.server_process import Command, ServerProcess
from aisecops_mcp.talk import Say
from aisecops_mcp.upstream import ServerGoneError, Upstream

Heard = Callable[[Upstream, Message], None]
Reached = Command | Address


def server_at(name: str, where: Reached, heard: Heard, say: Say, *, limit: int) -> Upstream:
    """Return a server that is not started yet; ``limit`` is the longest message that is taken from it, in bytes."""
    if isinstance(where, Address):
        return HttpServer(name, where, heard, say, limit)
    return ServerProcess(name, where, heard, say, limit)


def servers_at(places: Mapping[str, Reached], heard: Heard, say: Say, *, limit: int) -> dict[str, Upstream]:
    """Return servers that are not started yet, by their names."""
    return {name: server_at(name, where, heard, say, limit=limit) for name, where in places.items()}


async def start(servers: Mapping[str, Upstream], say: Say) -> None:
    """Start each server; one that cannot be is told of, and the others are served."""
    for server in servers.values():
        try:
            await server.start()
        except ServerGoneError as error:
            say(str(error))
