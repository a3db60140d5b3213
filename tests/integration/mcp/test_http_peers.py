"""What official clients see of public servers over HTTP is the same behind the proxy, when everything is allowed."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from tests.integration.mcp.test_public_servers import seen_by
from tests.mcp_servers.public import Calls, everything, files, memory, time
from tests.scenes.mcp.mcp_front import MODERN, Listening, front
from tests.scenes.mcp.mcp_packages import PEERS, peers
from tests.scenes.mcp.mcp_scene import DESK_AGENT, Scene, scene

pytestmark = pytest.mark.slow
SECONDS = 120
Server = Callable[[Path], tuple[tuple[str, ...], Calls]]


@pytest.fixture(scope="module")
def observed() -> Iterator[Scene]:
    """A policy that only observes the agent: everything is allowed, and on record."""
    with scene(modes=f"default: enforce\nagents: {{{DESK_AGENT}: observe}}\nrules: {{}}\n") as running:
        yield running


def typescript(which: str, told: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Return what a client in TypeScript saw."""
    words = (str(peers().node), str(PEERS / "session.mjs"), which, json.dumps(told))
    done = subprocess.run(
        words, cwd=PEERS, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def served(running: Scene) -> Iterator[str]:
    """Run the public server of everything over HTTP and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    line, _ = everything(running.root)
    process = subprocess.Popen(
        (*line, "streamableHttp"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**running.environment(), "PORT": str(port)},
    )
    try:
        assert process.stderr is not None
        for said in process.stderr:
            if str(port) in said:
                break
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.communicate(timeout=60)


def moved(running: Scene, root: Path, name: str) -> dict[str, str]:
    return {**running.environment(), "MEMORY_FILE_PATH": str(root / name)}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("server", "mode"),
    # Pinned, because a client that asks first gives up on a server that takes long to start, and begins a session.
    [(files, "legacy"), (memory, "legacy"), (everything, "legacy"), (time, "legacy"), (time, MODERN)],
    ids=lambda part: getattr(part, "__name__", part),
)
async def test_a_client_in_python_sees_the_same_over_http(
    observed: Scene, tmp_path: Path, server: Server, mode: str
) -> None:
    line, calls = server(tmp_path)
    started = StdioServerParameters(command=line[0], args=list(line[1:]), env=moved(observed, tmp_path, "bare"))
    async with Client(started, mode=mode) as client:
        expected = await seen_by(client, calls)
    how = Listening(observed, line=line, name=server.__name__, environment={"MEMORY_FILE_PATH": str(tmp_path / "b")})
    with front(how) as running:
        async with running.client(mode=mode) as client:
            assert await seen_by(client, calls) == expected
        events = await observed.events("grant.redeemed")
    assert len([one for one in events if one["details"]["tool"].startswith(server.__name__)]) >= len(calls)


@pytest.mark.parametrize("which", ["sdk", "client"])
@pytest.mark.parametrize("server", [files, memory, everything], ids=lambda server: server.__name__)
def test_a_client_in_typescript_sees_the_same_over_http(
    observed: Scene, tmp_path: Path, server: Server, which: str
) -> None:
    line, calls = server(tmp_path)
    environment = moved(observed, tmp_path, "bare")
    bare = {"command": line[0], "args": line[1:], "env": environment, "calls": calls}
    expected = typescript(which, bare, environment)
    how = Listening(observed, line=line, name=server.__name__, environment={"MEMORY_FILE_PATH": str(tmp_path / "b")})
    with front(how) as running:
        behind = {"url": running.url, "token": running.token(), "calls": calls}
        assert typescript(which, behind, environment) == expected
    assert expected["tools"]["tools"]


@pytest.mark.parametrize("which", ["sdk", "client"])
def test_a_client_in_typescript_sees_the_same_with_http_on_both_sides(
    observed: Scene, tmp_path: Path, which: str
) -> None:
    _, calls = everything(tmp_path)
    with served(observed) as url:
        expected = typescript(which, {"url": url, "calls": calls}, observed.environment())
        with front(Listening(observed, ("--upstream", f"everything={url}"), line=())) as running:
            behind = {"url": running.url, "token": running.token(), "calls": calls}
            assert typescript(which, behind, observed.environment()) == expected
    assert expected["tools"]["tools"]
