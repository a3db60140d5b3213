"""Agents on a narrow screen: ids that can be copied, and what became of what they asked."""

from __future__ import annotations

import io
from typing import Any

from aisecops_server.terminal.agents import agent_block, agent_table
from rich.console import Console

ID = "spiffe://corp.example/agent/an-agent-with-quite-a-long-name-of-its-own"
KNOWN: dict[str, Any] = {
    "agentId": ID,
    "registered": True,
    "owner": "support",
    "contact": "support@corp.example",
    "framework": "langgraph",
    "tenant": "default",
    "mode": "enforce",
    "environments": ["production", "staging"],
    "capabilities": [{"capability": "tickets.read", "grantedBy": "alice"}],
    "budget": "service",
    "limits": [{"subject": "team", "metric": "calls", "window": "day", "limit": "9000"}],
    "maxDelegationDepth": 1,
    "activity": {"allowed": "1200", "denied": "1", "firstSeenAt": "Monday", "lastSeenAt": "Friday"},
}
UNKNOWN = {"agentId": ID, "registered": False, "activity": {"denied": "3", "firstSeenAt": "a", "lastSeenAt": "b"}}


def drawn(what: Any, *given: object) -> str:
    console = Console(file=io.StringIO(), width=80, no_color=True)
    console.print(what(console, *given, str))
    return console.file.getvalue()


def test_a_list_keeps_ids_whole_and_tells_who_is_not_registered() -> None:
    shown = drawn(agent_table, [KNOWN, UNKNOWN, {**KNOWN, "activity": None}])
    assert shown.count(ID) == 3
    assert "support  1,200 allowed, 1 blocked, 0 escalated, 0 dry-run, last seen Friday" in shown
    assert "not registered  0 allowed, 3 blocked" in shown
    assert "support  never seen" in shown


def test_one_agent_is_shown_with_everything_that_is_known_of_it() -> None:
    shown = drawn(agent_block, KNOWN)
    for words in ("support, support@corp.example", "tickets.read, granted by alice", "team calls/day 9,000", "Monday"):
        assert words in shown
    assert "data/agents.yaml" in drawn(agent_block, UNKNOWN)
    assert "never" in drawn(agent_block, {**KNOWN, "activity": None})
