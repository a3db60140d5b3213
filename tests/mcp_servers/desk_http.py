"""The support desk over Streamable HTTP, at a port that it says itself. Every request's headers go to its journal."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import uvicorn

from tests.mcp_servers.desk import server

HEADERS = ("authorization", "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id")


def kept(app: Any) -> Any:
    def note(scope: Any) -> None:
        sent = {name.decode(): value.decode() for name, value in scope["headers"]}
        seen = {name: sent[name] for name in HEADERS if name in sent}
        with Path(os.environ["DESK_JOURNAL"]).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps({"tool": f"http {scope['method']}", **seen}) + "\n")

    async def heard(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            note(scope)
        await app(scope, receive, send)

    return heard


if __name__ == "__main__":
    app = server.streamable_http_app(json_response="json" in sys.argv)
    config = uvicorn.Config(kept(app), host="127.0.0.1", port=0, log_level="warning")
    running = uvicorn.Server(config)
    announce = running.startup

    async def startup(sockets: Any = None) -> None:
        await announce(sockets=sockets)
        sys.stdout.write(f"{running.servers[0].sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()

    running.startup = startup  # type: ignore[method-assign]
    running.run()
