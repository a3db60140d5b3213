"""A real OpenClaw gateway with our plugin in it, on a free port and in a folder of its own.

OpenClaw is large, so it is installed where ``AISECOPS_OPENCLAW`` asks for it (``make test-openclaw``), without running
anything that a package brings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.scenes.mcp.mcp_packages import NotInstalledError, alone, node_and_npm, run_installer

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "clients/openclaw"
VERSION = "2026.9.6"
_PLACE = Path(sys.prefix) / "openclaw-npm"
_START_SECONDS = 240
_TOKEN = "a-token-of-the-gateway-0123456789"


@dataclass(frozen=True, slots=True)
class OpenClaw:
    """Where OpenClaw is, and the Node that runs it."""

    node: Path
    modules: Path


def openclaw() -> OpenClaw:
    """Return OpenClaw, after installing it; skip where it was not asked for or cannot be had."""
    if not os.environ.get("AISECOPS_OPENCLAW"):
        pytest.skip("OpenClaw is 650 MB to install: make test-openclaw")
    try:
        with alone(_PLACE):
            node, npm = node_and_npm()
            marker = _PLACE / f".whole-{VERSION}"
            if not marker.exists():
                (_PLACE / "package.json").write_text('{"name": "aisecops-openclaw", "private": true}')
                words = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", str(_PLACE))
                run_installer(str(node), *npm, *words, f"openclaw@{VERSION}")
                marker.touch()
    except NotInstalledError as error:
        pytest.skip(f"OpenClaw cannot be installed here: {error}")
    return OpenClaw(node, _PLACE / "node_modules")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that runs."""

    address: str
    token: str
    http: aiohttp.ClientSession

    async def invoke(self, tool: str, args: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Have a tool called, and return the status and what is said."""
        async with self.http.post(
            f"{self.address}/tools/invoke",
            json={"tool": tool, "args": args},
            headers={"Authorization": f"Bearer {self.token}"},
        ) as response:
            found: dict[str, Any] = await response.json()
            return response.status, found


@contextlib.asynccontextmanager
async def gateway(found: OpenClaw, folder: Path, plugin: Mapping[str, Any]) -> AsyncIterator[Gateway]:
    """Run a gateway while the block does; ``plugin`` is the configuration of ours."""
    port = await asyncio.to_thread(_configured, folder, plugin)
    environment = {
        "PATH": f"{found.node.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "OPENCLAW_CONFIG_PATH": str(folder / "openclaw.json"),
        "OPENCLAW_STATE_DIR": str(folder / "state"),
        "NO_COLOR": "1",
    }
    log = await asyncio.to_thread((folder / "gateway.log").open, "wb")
    process = await asyncio.create_subprocess_exec(
        *(str(found.node), str(found.modules / "openclaw/openclaw.mjs"), "gateway", "--port", str(port)),
        env=environment,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        timeout = aiohttp.ClientTimeout(total=120)
        # While it starts, it drops connections that are kept.
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as http:
            made = Gateway(f"http://127.0.0.1:{port}", _TOKEN, http)
            await _answers(made, process, folder)
            yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()
        log.close()


def _configured(folder: Path, plugin: Mapping[str, Any]) -> int:
    """Write the configuration of a gateway, and return its port."""
    folder.mkdir(parents=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    entry = {"enabled": True, "hooks": {"allowConversationAccess": True}, "config": dict(plugin)}
    config = {
        "gateway": {"mode": "local", "bind": "loopback", "port": port, "auth": {"mode": "token", "token": _TOKEN}},
        "plugins": {"load": {"paths": [str(PLUGIN)]}, "allow": ["aisecops"], "entries": {"aisecops": entry}},
    }
    (folder / "openclaw.json").write_text(json.dumps(config))
    return port


async def _answers(made: Gateway, process: asyncio.subprocess.Process, folder: Path) -> None:
    """Return when the gateway takes connections; it has no other sign of being there."""
    async with asyncio.timeout(_START_SECONDS):
        while True:
            if process.returncode is not None:
                said = await asyncio.to_thread((folder / "gateway.log").read_text)
                raise AssertionError(said[-3000:])
            with contextlib.suppress(aiohttp.ClientError):
                async with made.http.get(f"{made.address}/readyz") as response:
                    if response.status == HTTPStatus.OK:
                        return
            await asyncio.sleep(0.2)
