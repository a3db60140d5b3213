"""The conformance suite of MCP: what a server passes bare, it passes behind the proxy, on the wire of both eras."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.scenes.mcp.mcp_front import Listening, front
from tests.scenes.mcp.mcp_packages import peers
from tests.scenes.mcp.mcp_scene import DESK_AGENT, ROOT, Scene, scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# How many scenarios there are at least, so that a suite that ran nothing is none that passed.
SCENARIOS = {"2025-11-25": 30, "2026-07-28": 40}
_TOLD = re.compile(r"^[^\w\s] ([\w-]+): (\d+) passed, (\d+) failed", re.MULTILINE)


@pytest.fixture(scope="module")
def observed() -> Iterator[Scene]:
    """A policy that only observes the agent: everything is allowed, and on record."""
    with scene(modes=f"default: enforce\nagents: {{{DESK_AGENT}: observe}}\nrules: {{}}\n") as running:
        yield running


@contextlib.contextmanager
def conformant(running: Scene) -> Iterator[str]:
    process = subprocess.Popen(
        (sys.executable, "-m", "tests.mcp_servers.conformant"),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=running.environment(PYTHONPATH=str(ROOT)),
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
    finally:
        process.kill()
        process.communicate(timeout=60)


def judged(url: str, version: str) -> dict[str, tuple[int, int]]:
    """Return how many checks of each scenario a server passes and fails."""
    words = ("server", "--url", url, "--suite", "all", "--spec-version", version)
    done = subprocess.run(
        (*peers().command("conformance"), *words), capture_output=True, text=True, timeout=400, check=False
    )
    found = {name: (int(passed), int(failed)) for name, passed, failed in _TOLD.findall(done.stdout)}
    assert len(found) >= SCENARIOS[version], done.stdout[-2000:] + done.stderr[-2000:]
    return found


@pytest.mark.parametrize("version", SCENARIOS)
def test_what_a_server_passes_bare_it_passes_behind_the_proxy(observed: Scene, version: str) -> None:
    with conformant(observed) as url:
        bare = judged(url, version)
        # The suite shows no token, so whoever comes from this machine is one agent.
        with front(Listening(observed, ("--upstream", f"conformant={url}"), line=(), agent=DESK_AGENT)) as running:
            behind = judged(running.url, version)
    sys.stdout.write("".join(f"{name}: bare {bare[name]}, behind {behind.get(name)}\n" for name in bare))
    assert behind.keys() == bare.keys()
    sound = {name for name, (_, failed) in bare.items() if not failed}
    assert len(sound) == len(bare)
    assert {name: behind[name] for name in sound if behind[name][1]} == {}
    # A stream that a server breaks off is gone on with by the proxy, so its client sees none broken off.
    fewer = {name: (bare[name][0], behind[name][0]) for name in sound if behind[name][0] < bare[name][0]}
    assert fewer.keys() <= {"server-sse-polling"}, fewer
