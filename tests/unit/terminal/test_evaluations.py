from __future__ import annotations

import io
from typing import Any

import pytest
from aisecops_server.domain.recordings.recorded_trace import Strangers, Tally, strangers_among
from aisecops_server.terminal.consoles import make_console
from aisecops_server.terminal.evaluations import evaluation_block

UNREGISTERED = ("capability.capability_not_granted", "identity.agent_unregistered")


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw as wide wherever the tests run: their runner may have set a width of its own."""
    monkeypatch.setenv("COLUMNS", "120")


def drawn(unknown: dict[str, Any]) -> list[str]:
    stream = io.StringIO()
    console = make_console(stream, color="never")
    tallies = [{"agentId": "a", "tool": "t/x", "outcome": "DENY", "rules": ["x.y"], "calls": 3}]
    document = {"revision": "f" * 40, "decided": 3, "skipped": 0, "tallies": tallies, "unknown": unknown}
    console.print(evaluation_block(console, document))
    return stream.getvalue().splitlines()


def test_what_policy_does_not_know_is_said_before_any_number() -> None:
    shown = drawn({"calls": 2, "agents": ["spiffe://x/agent"], "tools": [f"t/{number}" for number in range(9)]})
    assert shown[0].endswith("2 of 3 calls blocked for want of an entry: 1 unknown agent and 9 unknown tools")
    assert shown[1] == "  spiffe://x/agent, t/0, t/1, t/2, t/3, t/4 and 4 more"
    assert shown[3] == "    aisecops dev onboard TRACE_FILE... --policy DIR"


def test_where_everything_is_known_the_numbers_come_first() -> None:
    assert drawn({"calls": 0, "agents": [], "tools": []})[0] == "3 recorded calls on policy ffffffff"


def test_only_what_lacks_an_entry_counts_as_unknown() -> None:
    tallies = [
        Tally("new", "crm/read", "DENY", UNREGISTERED, 2),
        Tally("old", "crm/wipe", "DENY", ("capability.tool_undeclared",), 3),
        Tally("old", "crm/read", "DENY", ("capability.capability_not_granted",), 5),
        Tally("old", "crm/read", "ALLOW", (), 7),
    ]
    assert strangers_among(tallies) == Strangers(5, ("new",), ("crm/wipe",))
