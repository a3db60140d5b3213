"""The commands for policy authors print what the page about commands says, and write what they say they write."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.cli.exit_codes import ExitCode

from tests.scenes.replays.replays import Recorded, record
from tests.support import opa_binary

pytestmark = pytest.mark.timeout(300)

PAGE = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text(encoding="utf-8")
SHAPES = {
    name: re.findall(r"`(\w+)`", fields)
    for name, fields in re.findall(r"^\| `([a-z -]+)` \| (.+) \|$", PAGE, re.MULTILINE)
}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return asyncio.run(record(tmp_path_factory.mktemp("commands"), only=("refund-lost-parcel", "pay-known-supplier")))


def run(history: Recorded, here: Path, *line: str) -> tuple[int, Any, str]:
    """Run a command in a folder, on the state directory of a history."""
    done = subprocess.run(
        [sys.executable, "-m", "aisecops_server", *line, "-o", "json"],
        cwd=here,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(history.root),
            "AISECOPS_STATE_DIR": str(history.settings.state_dir),
            "AISECOPS_REPOSITORY": history.settings.repository,
            "AISECOPS_ENGINE_PATH": str(opa_binary()),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout, done.stderr


def printed(history: Recorded, here: Path, *line: str) -> dict[str, Any]:
    code, document, told = run(history, here, *line)
    assert code == ExitCode.OK, (document, told)
    return document


def test_every_command_prints_the_fields_that_the_page_names(history: Recorded, tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    assert list(printed(history, tmp_path, "policy", "init", "policy")) == SHAPES["policy init"]
    made = printed(history, policy, "policy", "new-rule", "ops/scale_down", "--tool", "kubernetes/scale")
    assert list(made) == SHAPES["policy new-rule"]
    assert all((policy / path).is_file() for path in made["written"])
    assert printed(history, policy, "policy", "schemas") == {"written": []}
    checked = printed(history, policy, "policy", "check", "--only", "format", "--only", "conftest")
    assert list(checked) == SHAPES["policy check"]
    assert [check["name"] for check in checked["checks"]] == ["format", "conftest"]
    assert list(printed(history, policy, "policy", "why", "ops.scale_down", "--local")) == SHAPES["policy why"]
    catalogue = printed(history, policy, "policy", "catalogue", "--out", "pages")
    assert list(catalogue) == SHAPES["policy catalogue"]
    assert {path.stem for path in (policy / "pages").iterdir()} == {
        "README",
        *(rule["rule"] for rule in catalogue["rules"]),
    }
    page = (policy / "pages" / "ops.scale_down.md").read_text(encoding="utf-8")
    assert "a near miss is left alone" in page
    assert "`owasp-llm-2025:LLM06`" in page


def test_recorded_decisions_are_taken_along_and_become_cases(history: Recorded, tmp_path: Path) -> None:
    exported = printed(history, tmp_path, "policy", "corpus", "export", "--file", "c.ndjson.gz")
    assert list(exported) == SHAPES["policy corpus export"]
    assert (exported["decisions"], exported["leftOut"]) == (exported["selected"], {})
    trace = next(iter(history.decided.values())).details["trace_id"]
    case = printed(
        history, history.policy, "policy", "golden", "add", str(trace), "--case", "what was decided stays so"
    )
    assert list(case) == SHAPES["policy golden add"]
    assert case["cases"] == 1
    code, checked, _ = run(history, history.policy, "policy", "golden", "run")
    assert (code, checked["errors"]) == (ExitCode.OK, 0)
    (history.policy / "data/modes.yaml").write_text(
        history.text("data/modes.yaml").replace("agents: {}", "agents: {" + next(iter(_agents(history))) + ": dry_run}")
    )
    impact = run(
        history, history.policy, "policy", "impact", "--base", "HEAD", "--local", "--no-cost", "--samples", "0"
    )
    assert list(impact[1]) == SHAPES["policy impact"], impact[2]


def test_an_impact_without_a_control_plane_names_what_else_can_be_asked(history: Recorded, tmp_path: Path) -> None:
    elsewhere = ("--state-dir", str(tmp_path / "nobody"))
    code, document, told = run(history, history.policy, "policy", "impact", "--base", "HEAD", *elsewhere)
    assert code == ExitCode.UNREACHABLE, (document, told)
    assert "Without one, --local reads the log of the state directory and --corpus a file" in document["error"]["hint"]


def _agents(history: Recorded) -> list[str]:
    return [str(answer.details["principal"]["id"]) for answer in history.decided.values()]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("policy", "why", "nobody.knows"), ExitCode.NOT_FOUND),
        (("policy", "golden", "add", "0" * 32), ExitCode.NOT_FOUND),
        (("policy", "impact", "--base", "nowhere"), ExitCode.NOT_FOUND),
        (("policy", "impact", "--base", "HEAD", "--since", "soon"), ExitCode.USAGE),
        (("policy", "check", "--report", "poem"), ExitCode.USAGE),
        (("policy", "new-rule", "Not/AName"), ExitCode.USAGE),
        (("policy", "init", "."), ExitCode.USAGE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_does_not_fit_is_refused_with_its_own_code(
    history: Recorded, line: tuple[str, ...], code: ExitCode
) -> None:
    done, document, told = run(history, history.policy, *line)
    assert done == code, (document, told)
    assert document["error"]["hint"]
