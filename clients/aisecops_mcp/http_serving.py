"""The proxy as a server of its own, for any number of clients over Streamable HTTP."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from aisecops_client.enforce import fresh_key

from aisecops_mcp.callers import Door, Resource
from aisecops_mcp.connections import Connections
from aisecops_mcp.http_front import Front, hosts_of
from aisecops_mcp.http_listener import address_of, listening
from aisecops_mcp.naming import Naming
from aisecops_mcp.opening import Reached
from aisecops_mcp.stdio import Bounds
from aisecops_mcp.talk import Say


@dataclass(frozen=True, slots=True)
class Place:
    """Where it listens, what it is called there, and by which other names it is reached."""

    at: socket.socket
    resource: Resource
    tls: ssl.SSLContext | None = None
    hosts: Collection[str] = field(default_factory=tuple)


async def serve_http(
    places: Mapping[str, Reached], door: Door, place: Place, bounds: Bounds, *, say: Say, ready: Callable[[], None]
) -> None:
    """Serve until the process is asked to end. ``ready`` is called once it listens.

    Raises:
        ValueError: a server cannot be called so.
    """
    Naming(tuple(places))
    connections = Connections(places, bounds, door, say, fresh_key)
    hosts = hosts_of(address_of(place.at), place.resource.url, place.hosts)
    front = Front(connections, door, place.resource, hosts, bounds.message_bytes)
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, asked_to_end.set)
    sweeping = asyncio.create_task(connections.sweep())
    try:
        async with listening(front.answer, place.at, place.tls):
            ready()
            await asked_to_end.wait()
            # First, because who listens for events would not let the listener end.
            await connections.close()
    finally:
        sweeping.cancel()
        await connections.close()
