"""``aisecops top`` beside a control plane that serves, goes away and comes back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.program import SECONDS, Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SUPPORT = "spiffe://corp.example/agent/support-assistant"
READ = {"steps": [{"step_id": "read", "tool": "tickets/read", "arguments": {"ticket_id": "T-1"}}]}
SHELL = {"steps": [{"step_id": "sh", "tool": "shell/run", "arguments": {"command": "ls"}}]}


@contextmanager
def served(terminal: Terminal) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "serve"],
        env=terminal.environment(**where(terminal)),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline().startswith("listening on ")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)


def where(terminal: Terminal) -> dict[str, str]:
    return {
        "AISECOPS_REPOSITORY": str(terminal.home / "policy"),
        "AISECOPS_METRICS_ADDRESS": f"unix:{terminal.home / 'm.sock'}",
    }


def test_it_tells_what_goes_on_and_that_nobody_answers_and_comes_back(home: Path) -> None:
    terminal = Terminal(home)
    env = where(terminal)
    terminal.run("dev", "policy", str(home / "policy"))
    for name, plan in (("read", READ), ("shell", SHELL)):
        (home / f"{name}.json").write_text(json.dumps(plan), encoding="utf-8")
    away = terminal.run("top", "--once", **env)
    assert (away.code, "no control plane answers" in away.err) == (8, True)
    with served(terminal):
        decided = [
            terminal.run("decide", "-f", str(home / f"{plan}.json"), "--agent", SUPPORT) for plan in ("read", "shell")
        ]
        assert [done.code for done in decided] == [3, 3], decided[1].err
        before = int(terminal.run("log", "head", "-o", "json").json["size"])
        found = terminal.run("top", "--once", "-o", "json", "--window", "600", **env)
        assert found.code == 0, found.err
        # That somebody looks is on record, too.
        after = int(terminal.run("log", "head", "-o", "json").json["size"])
        assert found.json["state"] == "SERVING"
        decisions = found.json["decisions"]
        assert decisions["outcomes"] == {"DENY": 2}
        explained = terminal.run("trace", "list", "-o", "json").json["traces"]
        rules = {rule for trace in explained for rule in trace["rules"]}
        assert decisions["blocked"]
        assert {row["reason"] for row in decisions["blocked"]} <= rules
        assert decisions["engineP99Milliseconds"] >= decisions["engineP50Milliseconds"] > 0
        assert found.json["queue"] == {"running": 0, "waiting": 0, "refused": 0}
        assert found.json["log"]["sealed"] is False
        assert before <= found.json["log"]["events"] <= after
        drawn = terminal.run("top", **env)
        assert (drawn.code, "2 blocked" in drawn.out, "0 allowed" in drawn.out) == (0, True, True)
        none = terminal.run("top", "--once", "-o", "json", "--metrics", f"unix:{home}/none", **env)
        assert (none.code, none.json["queue"]) == (0, None)
        assert "no metrics can be read" in none.json["problems"][0]
    watching = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "top", "-o", "ndjson", "--every", "0.2"],
        env=terminal.environment(**env),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    try:
        assert json.loads(watching.stdout.readline())["state"] == "AWAY"
        with served(terminal):
            state = next(found for line in watching.stdout if (found := json.loads(line)) and found["state"] != "AWAY")
            assert (state["state"], state["decisions"]["outcomes"]) == ("SERVING", {"DENY": 2})
        assert next(line for line in watching.stdout if json.loads(line)["state"] == "AWAY")
    finally:
        watching.kill()
        watching.communicate()


def test_a_credential_that_is_refused_ends_it(home: Path) -> None:
    terminal = Terminal(home)
    terminal.run("dev", "policy", str(home / "policy"))
    (home / "bad.jwt").write_text("no.such.token", encoding="utf-8")
    with served(terminal):
        refused = terminal.run("top", "-o", "ndjson", "--token-file", str(home / "bad.jwt"), **where(terminal))
    assert refused.code == 7
