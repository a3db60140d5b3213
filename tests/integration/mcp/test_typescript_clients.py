"""What the official clients in TypeScript and the inspector see of public servers is the same behind the proxy."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_servers.public import Calls, everything, files, memory
from tests.scenes.mcp.mcp_packages import PEERS, peers
from tests.scenes.mcp.mcp_scene import APPROVE, DENY, DESK_AGENT, Scene, scene

pytestmark = pytest.mark.slow
SECONDS = 120
Server = Callable[[Path], tuple[tuple[str, ...], Calls]]
# Some work in steps that are told as they end.
STEPS = ("trigger-long-running-operation", {"duration": 0.3, "steps": 3})


@pytest.fixture(scope="module")
def observed() -> Iterator[Scene]:
    """A policy that only observes the agent: everything is allowed, and on record."""
    with scene(modes=f"default: enforce\nagents: {{{DESK_AGENT}: observe}}\nrules: {{}}\n") as running:
        yield running


@pytest.fixture(scope="module")
def enforced() -> Iterator[Scene]:
    with scene() as running:
        yield running


def run(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=PEERS, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def session(which: str, started: Any, calls: Calls) -> dict[str, Any]:
    """Return what a client in TypeScript saw."""
    told = {"command": started.command, "args": started.args, "env": started.env, "calls": calls}
    done = run(str(peers().node), str(PEERS / "session.mjs"), which, json.dumps(told), environment=started.env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def inspected(started: Any, *words: str) -> tuple[int, str]:
    """Return what the inspector's command line said."""
    given = [word for name, value in started.env.items() for word in ("-e", f"{name}={value}")]
    line = (*peers().command("mcp-inspector"), "--cli", *given, *words, "--", started.command, *started.args)
    done = run(*line, environment=started.env)
    assert done.stdout or done.returncode, done.stderr
    return done.returncode, done.stdout


def both(observed: Scene, root: Path, server: Server) -> tuple[Any, Any, Calls]:
    """Return how a server is started bare and behind the proxy, each with a memory of its own."""
    line, calls = server(root)
    bare = observed.proxy()
    bare.command, bare.args = line[0], list(line[1:])
    bare.env["MEMORY_FILE_PATH"] = str(root / "bare.jsonl")
    behind = observed.proxy(*line, name=server.__name__, MEMORY_FILE_PATH=str(root / "behind.jsonl"))
    return bare, behind, calls


@pytest.mark.parametrize("server", [files, memory, everything], ids=lambda server: server.__name__)
@pytest.mark.parametrize("which", ["sdk", "client"])
def test_with_everything_allowed_a_client_in_typescript_sees_the_same(
    observed: Scene, tmp_path: Path, server: Server, which: str
) -> None:
    bare, behind, calls = both(observed, tmp_path, server)
    if server is everything:
        calls.append(STEPS)
    expected = session(which, bare, calls)
    assert [name for name, _ in expected["calls"]] == [name for name, _ in calls]
    assert expected["tools"]["tools"]
    assert (server is everything) == bool(expected["progress"])
    assert session(which, behind, calls) == expected


INSPECTED = {
    "everything": (
        everything,
        [
            ("--method", "tools/list"),
            ("--method", "prompts/get", "--prompt-name", "simple-prompt"),
            ("--method", "tools/call", "--tool-name", "get-sum", "--tool-arg", "a=1", "b=2"),
        ],
    ),
    "memory": (memory, [("--method", "tools/call", "--tool-name", "read_graph")]),
}


@pytest.mark.parametrize("name", INSPECTED)
def test_with_everything_allowed_the_inspector_says_the_same(observed: Scene, tmp_path: Path, name: str) -> None:
    server, asked = INSPECTED[name]
    bare, behind, _ = both(observed, tmp_path, server)
    for words in asked:
        code, said = inspected(bare, *words)
        assert code == 0, said
        assert inspected(behind, *words) == (0, said), words


@pytest.mark.parametrize("which", ["sdk", "client"])
def test_a_client_in_typescript_is_told_what_policy_denies(enforced: Scene, tmp_path: Path, which: str) -> None:
    _, behind, calls = both(enforced, tmp_path, files)
    seen = session(which, behind, calls)
    assert seen["tools"]["tools"] == []
    assert {answer["_meta"]["aisecops/decision"]["outcome"] for _, answer in seen["calls"]} == {"DENY"}
    assert {answer["isError"] for _, answer in seen["calls"]} == {True}


@pytest.mark.parametrize("which", ["sdk", "client"])
@pytest.mark.parametrize(
    ("action", "choice", "expected"),
    [
        ("accept", APPROVE, "refunded 20"),
        ("accept", DENY, "people did not approve the call"),
        ("decline", None, "the request was taken back"),
    ],
)
def test_a_client_in_typescript_asks_its_user_while_people_are_asked(
    enforced: Scene, which: str, action: str, choice: Any, expected: str
) -> None:
    order = {"order_id": f"{which}-{action}-{choice}", "amount": 20}
    started = enforced.desk()
    told = {"command": started.command, "args": started.args, "env": started.env, "call": ["refund", order]}
    line = (str(peers().node), str(PEERS / "consent.mjs"), which, json.dumps(told))
    with subprocess.Popen(
        line, cwd=PEERS, env=started.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        asked = json.loads(client.stdout.readline())["asked"]
        assert asked.startswith("AISecOps: people have to approve this call")
        if choice is not None:
            [approval_id] = re.findall(r"apr-[0-9a-zA-Z-]*[0-9a-zA-Z]", asked)
            asyncio.run(enforced.answer(approval_id, choice))
        print(action, file=client.stdin, flush=True)
        seen = json.loads(client.stdout.readline())
    assert expected in seen["result"]["content"][0]["text"]
    assert ({"tool": "refund", **order} in enforced.done()) == (choice == APPROVE)
    assert seen.get("era") == {"client": "2026-07-28"}.get(which)
