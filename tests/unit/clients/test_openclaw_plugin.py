"""The plugin for OpenClaw by itself: whatever answers it, only a decision with its own grant lets a call run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.scenes.mcp.mcp_packages import peers

ANSWERS = Path(__file__).resolve().parents[2] / "openclaw_plugin/answers.mts"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what becomes of each call, by name: why it is not made, or an empty string."""
    token = tmp_path_factory.mktemp("openclaw") / "token"
    token.write_text("a-token")
    done = subprocess.run([peers().node, ANSWERS, token], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def test_only_a_decision_with_its_own_grant_lets_a_call_run(told: dict[str, str]) -> None:
    elsewhere = told.pop("asked elsewhere")
    assert [name for name, refused in told.items() if not refused] == ["the decision and its grant"]
    # The token went to nobody else.
    assert elsewhere == "0"
    assert len(told) == 24


def test_a_refusal_says_what_is_wrong(told: dict[str, str]) -> None:
    assert "the answer is no decision" in told["no decision"]
    assert "the answer is no decision" in told["a list"]
    assert "no exact form as JSON" in told["a date in the arguments"]
    assert "DEADLINE_EXCEEDED" in told["silence"]
    assert "redact" in told["a duty that cannot be kept"]
    assert "https" in told["http://127.0.0.1.elsewhere.example"]
