"""A client that says exactly what a test wants said, line by line, to a proxy that runs as a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

SECONDS = 60.0


@dataclass
class Wire:
    """Both ends of a proxy's standard input and output."""

    process: asyncio.subprocess.Process
    heard: list[dict[str, Any]] = field(default_factory=list)

    def say(self, message: Any) -> None:
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(raw + b"\n")

    async def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), SECONDS)
        assert line, "the proxy hung up"
        found: dict[str, Any] = json.loads(line)
        self.heard.append(found)
        return found

    async def hears(self, method: str) -> dict[str, Any]:
        """Return the next message of this kind, whatever else is said before."""
        while (found := await self.hear()).get("method") != method:
            pass
        return found

    async def answer(self, id: Any) -> dict[str, Any]:
        """Return the answer to a request, whatever else is said before."""
        for found in self.heard:
            if found.get("id") == id and "method" not in found:
                return found
        while True:
            found = await self.hear()
            if found.get("id") == id and "method" not in found:
                return found

    async def ask(self, id: Any, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        self.say({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}})
        return await self.answer(id)

    async def call(self, id: Any, tool: str, **arguments: Any) -> dict[str, Any]:
        return await self.ask(id, "tools/call", {"name": tool, "arguments": arguments})

    async def begin(self, capabilities: dict[str, Any] | None = None) -> dict[str, Any]:
        about = {"name": "wire", "version": "0"}
        params = {"protocolVersion": "2025-11-25", "capabilities": capabilities or {}, "clientInfo": about}
        answer = await self.ask("begin", "initialize", params)
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer


@asynccontextmanager
async def wired(parameters: Any) -> AsyncIterator[Wire]:
    """Start what a client's configuration says, and hang up at the end."""
    process = await asyncio.create_subprocess_exec(
        parameters.command,
        *parameters.args,
        env=parameters.env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    try:
        yield Wire(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            if process.stdin is not None:
                process.stdin.close()
        _, told = await asyncio.wait_for(process.communicate(), SECONDS)
        assert b"Traceback" not in told, told.decode()
