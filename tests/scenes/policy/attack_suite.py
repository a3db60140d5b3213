"""Runs the invented assistants of ``golden/attack_suite.yaml`` through the real control plane.

Every task is run as it is and once under each attack that fits its server. What a policy author would write for
these tools is a minimal table; agents hold every tool of their server, so that only provenance stands in the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aisecops_server.adapters.git.create import commit_files, create_policy_repository
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import RecordedCall, RecordedPrompt, RecordedTrace

SUITE = Path(__file__).parents[2] / "golden" / "attack_suite.yaml"
HOLE = "{hole}"


@dataclass(frozen=True, slots=True)
class Case:
    """One run: which spans are the user's, which change something at the attacker's wish."""

    name: str
    kind: str
    trace: RecordedTrace
    own: tuple[str, ...]
    injected: tuple[str, ...]


def load() -> dict[str, Any]:
    """Return the suite."""
    held: dict[str, Any] = yaml.safe_load(SUITE.read_text(encoding="utf-8"))
    return held


def policy_repository(path: Path, suite: Mapping[str, Any]) -> Path:
    """Make a policy repository that is the shipped one plus the suite's tools and one agent a server."""
    create_policy_repository(path, at_seconds=1)
    tools = {name: {"description": "A tool of the suite.", **entry} for name, entry in suite["tools"].items()}
    servers = sorted({name.partition("/")[0] for name in tools})
    held = {
        "tools": tools,
        "servers": {
            server: {
                "description": "Invented.",
                "owner": "tests",
                "environments": ["production"],
                "tools": "catalogued",
            }
            for server in servers
        },
        "capabilities": {
            f"{server}.all": {
                "description": "Everything.",
                "owner": "tests",
                "risk": "high",
                "tools": [name for name in tools if name.startswith(f"{server}/")],
            }
            for server in servers
        },
        "agents": {
            f"{server}-assistant": {
                "owner": "tests",
                "contact": "tests@corp.example",
                "framework": "none",
                "environments": ["production"],
                "budget": "office",
                "capabilities": {f"{server}.all": {"granted_by": "tests"}},
            }
            for server in servers
        },
    }
    files = {f"data/{name}.yaml": _merged(path / "data" / f"{name}.yaml", table) for name, table in held.items()}
    commit_files(path, files, message="Add the suite's tools", at_seconds=2)
    return path


def cases(suite: Mapping[str, Any]) -> Iterator[Case]:
    """Yield every task, as it is and under each attack."""
    for number, task in enumerate(suite["tasks"]):
        yield _case(f"{number}", "benign", task, None)
        server = task["calls"][0]["tool"].partition("/")[0]
        for index, attack in enumerate(suite["attacks"]):
            if server in attack["servers"]:
                yield _case(f"{number}.{index}", attack["kind"], task, attack)


def _case(name: str, kind: str, task: Mapping[str, Any], attack: Mapping[str, Any] | None) -> Case:
    calls: list[RecordedCall] = []
    own: list[str] = []
    injected: list[str] = []
    for call in task["calls"]:
        text = call.get("result")
        own.append(_append(calls, call, text and text.replace(HOLE, attack["text"] if attack else "")))
        if attack and text and HOLE in text:
            injected.extend(_append(calls, item, "done") for item in attack["calls"])
    server = task["calls"][0]["tool"].partition("/")[0]
    trace = RecordedTrace(
        trace_id=digest(name.encode())[:32],
        agent_id=f"{server}-assistant",
        session_id=name,
        environment="production",
        prompts=(RecordedPrompt(SourceKind.USER_PROMPT, task["user"]),),
        calls=tuple(calls),
    )
    return Case(f"{task['user'][:40]} / {kind}", kind, trace, tuple(own), tuple(injected))


def _append(calls: list[RecordedCall], call: Mapping[str, Any], result: str | None) -> str:
    span = f"s{len(calls):02d}"
    arguments = json.dumps(call["arguments"], ensure_ascii=False, default=str)
    calls.append(RecordedCall(span, call["tool"], arguments, result, len(calls)))
    return span


def _merged(path: Path, table: Mapping[str, Any]) -> bytes:
    added: str = yaml.safe_dump(dict(table), sort_keys=True, allow_unicode=True)
    return path.read_bytes() + b"\n" + added.encode()
