"""One screen of how it goes: everything that somebody should see is there, and what is not known is said."""

from __future__ import annotations

import io
from typing import Any

from aisecops_server.terminal.consoles import make_console
from aisecops_server.terminal.top import away_line, top_screen
from rich.console import Console

AGENT = "spiffe://corp.example/agent/support"
BUDGET = {
    "name": "team:support/calls/day",
    "subject": "team",
    "subjectId": "support",
    "metric": "calls",
    "window": "day",
    "limit": "100",
    "used": "95",
    "reserved": "2",
    "remaining": "3",
    "frozen": False,
}
FULL: dict[str, Any] = {
    "server": "unix:/run/a.sock",
    "state": "SERVING",
    "decisions": {
        "seconds": 60.0,
        "perSecond": 1234.5,
        "outcomes": {"ALLOW": 60000, "DENY": 7, "REFUSED": 3},
        "engineP50Milliseconds": 1.5,
        "engineP99Milliseconds": 22.25,
        "blocked": [{"reason": "shell.in_production", "count": 7}],
    },
    "queue": {"running": 64, "waiting": 12, "refused": 5},
    "log": {"events": 123456, "sealed": False},
    "policy": {"live": {"commit": "f" * 40}, "wanted": "e" * 40, "problem": "its tests fail"},
    "budgets": [BUDGET],
    "approvals": {
        "open": 2,
        "more": False,
        "next": [{"approvalId": "apr-1", "agentId": AGENT, "tools": ["mail/send"], "expiresAt": "soon"}],
    },
    "incidents": {
        "count": 500,
        "more": True,
        "latest": [
            {
                "kind": "run_without_grant",
                "severity": "high",
                "agentId": AGENT,
                "occurredAt": "today",
                "traceId": "0" * 32,
            }
        ],
    },
    "problems": [],
}
UNKNOWN = dict.fromkeys(("decisions", "queue", "policy", "budgets", "approvals", "incidents"))


def drawn(found: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=100, no_color=True)
    console.print(top_screen(console, found, 0, str))
    return console.file.getvalue()


def test_everything_is_on_the_screen() -> None:
    shown = drawn(FULL)
    for words in (
        *(
            "decides",
            "1,234.5 a second, over 60 s",
            "7 blocked",
            "60,000 allowed",
            "3 refused",
            "p50 1.5 ms, p99 22.2 ms",
        ),
        *("64 running, 12 waiting, 5 refused", "123,456 events", "its tests fail", "shell.in_production", "apr-1"),
        *("team support", "2 wait for people", "more than 500 incidents", "run_without_grant"),
    ):
        assert words in shown


def test_what_could_not_be_read_is_left_out_and_said() -> None:
    shown = drawn({**FULL, **UNKNOWN, "problems": ["budgets: needs the role auditor"]})
    assert "budgets: needs the role auditor" in shown
    assert "metrics_address" in shown


def test_a_sealed_log_and_a_control_plane_that_does_not_decide_are_seen_first() -> None:
    shown = drawn({**FULL, "state": "NOT_SERVING", "log": {"events": 1, "sealed": True}})
    assert shown.splitlines()[0].startswith("✕ decides nothing")
    assert "sealed, at 1 events" in shown


def test_names_of_others_do_not_steer_the_terminal() -> None:
    stream = io.StringIO()
    console = make_console(stream)
    blocked = [{"reason": "\x1b[2Jgone", "count": 1}]
    console.print(top_screen(console, {**FULL, "decisions": {**FULL["decisions"], "blocked": blocked}}, 0, str))
    assert "\x1b" not in stream.getvalue()


def test_who_is_away_is_asked_again() -> None:
    console = Console(file=io.StringIO(), width=100, no_color=True)
    assert "asking again" in away_line(console, "no control plane answers at x").plain
