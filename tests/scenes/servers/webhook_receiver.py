"""A receiver of webhooks on this machine that checks what comes, and answers as it is told to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

SECRET = b"ABC" * 8
TOLERANCE_SECONDS = 300


@dataclass(frozen=True)
class Received:
    id: str
    at: int
    body: dict[str, Any]
    headers: dict[str, str]
    raw: bytes


@dataclass
class Receiver:
    """Remembers what came. ``answers`` are statuses to give, in order; then 204. While ``gate`` is unset it hangs."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def endpoint(self, root: Path, name: str = "pager", url: str = "") -> str:
        """Return the setting that names this receiver."""
        file = root / f"{name}.secret"
        file.write_text(f"whsec_{base64.b64encode(SECRET).decode()}\n", encoding="ascii")
        file.chmod(0o600)
        return f"{name} {url or self.url} {file}"

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(
            Received(headers["webhook-id"], int(headers["webhook-timestamp"]), json.loads(raw), headers, raw)
        )
        self.arrived.set()
        await self.gate.wait()
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"location": "http://127.0.0.1:1/elsewhere"})


def is_genuine(received: Received, *, now: int, secret: bytes = SECRET) -> bool:
    """Return whether a receiver should believe a message: its signature verifies and it is not an old one.

    Written from the words of Standard Webhooks and not from the sender.
    """
    signed = f"{received.id}.{received.at}.".encode() + received.raw
    wanted = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    given = [part.partition(",") for part in received.headers["webhook-signature"].split()]
    fresh = abs(now - received.at) <= TOLERANCE_SECONDS
    return fresh and any(version == "v1" and hmac.compare_digest(value, wanted) for version, _, value in given)


@asynccontextmanager
async def receiver(**fields: Any) -> AsyncIterator[Receiver]:
    """Listen while the block runs."""
    made = Receiver(**fields)
    application = web.Application()
    application.router.add_post("/hook", made.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", made.port)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        made.gate.set()
        await runner.cleanup()
