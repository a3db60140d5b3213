"""Commands that people try first, with what they have at that moment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_verify.one_file import main as verify


def test_a_configuration_is_wrapped_for_a_token_that_is_not_there_yet_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers, token = tmp_path / "mcp.json", tmp_path / "agent.token"
    servers.write_text('{"mcpServers": {"tickets": {"command": "python", "args": ["tickets.py"]}}}', encoding="utf-8")
    wrap = ["mcp", "wrap", str(servers), "--token-file", str(token)]
    assert run(wrap) == ExitCode.OK
    assert f"there is no {token} yet" in capsys.readouterr().err
    assert run([*wrap, "--undo"]) == ExitCode.OK
    token.write_text("x", encoding="ascii")
    assert run(wrap) == ExitCode.OK
    assert capsys.readouterr().err == ""


def test_the_rule_of_the_help_can_be_written_into_a_repository_that_was_just_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = str(tmp_path / "policy")
    assert run(["policy", "init", policy]) == ExitCode.OK
    run(["policy", "new-rule", "--help"])
    shown = re.search(r"^ +aisecops (policy new-rule \S+/\S+ .*)$", capsys.readouterr().out, re.MULTILINE)
    assert shown
    assert run([*shown[1].split(), "--directory", policy]) == ExitCode.OK


def test_a_folder_without_a_policy_is_told_how_one_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "check", str(tmp_path)]) == ExitCode.USAGE
    assert "'aisecops policy init ./policy' makes one" in capsys.readouterr().err


def test_the_verifier_names_what_is_not_there_in_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify([str(tmp_path / "case.zip")]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"aisecops-verify: there is no {tmp_path}/case.zip\n"
