"""What the command page says about ``-o json`` is what is printed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.program import SECONDS, Terminal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = (
    (ROOT / "docs/reference/cli.md").read_text("utf-8").partition("## What `-o json` prints")[2].partition("\n## ")[0]
)
SHAPES = {
    name: tuple(re.findall(r"`(\w+)`", fields))
    for name, fields in re.findall(r"^\| `([a-z ]+)` \| (.+) \|$", PAGE, re.MULTILINE)
}
SUPPORT = "spiffe://corp.example/agent/support-assistant"
PLAN = {"steps": [{"step_id": "read", "tool": "tickets/read", "arguments": {"ticket_id": "T-1"}}]}
# Recorded traces, onboarding, used budgets, approvals, checks of policy and rollouts have tests of their own.
ELSEWHERE = {
    "airgap pack",
    "db init",
    "db migrate",
    "db status",
    "db import",
    "backup make",
    "backup verify",
    "backup restore",
    "trace import",
    "trace evaluate",
    "dev onboard",
    "budget show",
    "budget history",
} | {
    "budget adjust",
    "budget release",
    *(
        f"approvals {word}"
        for word in ("show", "approve", "deny", "withdraw", "wait", "key", "rotate-key", "notices resend")
    ),
    *(
        f"policy {word}"
        for word in ("init", "schemas", "check", "impact", "why", "catalogue", "corpus export", "announce", "announced")
    ),
    "policy golden add",
    *(f"rollout {word}" for word in ("start", "canary", "promote", "rollback", "abort")),
}


@dataclass(frozen=True, slots=True)
class Served:
    terminal: Terminal
    policy: Path

    def printed(self, *line: str) -> dict[str, object]:
        done = self.terminal.run(*line, "-o", "json", AISECOPS_REPOSITORY=str(self.policy))
        return done.json


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    made = Served(Terminal(home), home / "policy")
    (home / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
    assert tuple(made.printed("dev", "policy", str(made.policy))) == SHAPES["dev policy"]
    process = subprocess.Popen(
        [sys.executable, "-m", "aisecops_server", "serve"],
        env=made.terminal.environment(AISECOPS_REPOSITORY=str(made.policy)),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline().startswith("listening on ")
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)


def test_every_shape_on_the_page_is_the_one_that_is_printed(served: Served) -> None:
    plan = str(served.terminal.home / "plan.json")
    decision = served.printed("decide", "-f", plan, "--agent", SUPPORT)
    inner = decision["decision"]
    assert isinstance(inner, dict)
    lines = {
        "screen": ("screen", "Hello.", "--agent", SUPPORT),
        "explain": ("explain", inner["decisionId"]),
        "trace show": ("trace", "show", inner["traceId"]),
        "bundle show": ("bundle", "show", inner["bundleRevision"]),
        "bundle diff": ("bundle", "diff", inner["bundleRevision"], "HEAD"),
        "dev ca": ("dev", "ca", str(served.terminal.home / "ca")),
        "agent show": ("agent", "show", SUPPORT),
        "compliance show": ("compliance", "show", "owasp-llm-2025"),
        "dev token": ("dev", "token", "--agent", SUPPORT),
        "an error": ("trace", "show", "f" * 32),
    }
    plain = set(SHAPES) - set(lines) - ELSEWHERE - {"decide", "dev policy"}
    found = {"decide": set(decision)} | {
        name: set(served.printed(*lines.get(name, tuple(name.split())))) for name in {*lines, *plain}
    }
    assert found == {name: set(SHAPES[name]) for name in found}
