from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import click
import grpc
import pytest
from aisecops_client.errors import AccessRefusedError, NotFoundError, RetryLaterError
from aisecops_server.cli.exit_codes import ExitCode, of_outcome, of_reason
from aisecops_server.cli.failures import failure_of
from aisecops_server.cli.main import run
from aisecops_server.domain.errors import BundleRejectedError, IntegrityError, NotPermittedError


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("ALLOW", 0), ("OUTCOME_ALLOW", 0), ("DENY", 3), ("REQUIRE_APPROVAL", 4), ("", 3), ("MAYBE", 3)],
)
def test_an_outcome_is_an_exit_code_and_an_unknown_one_is_a_denial(outcome: str, code: int) -> None:
    assert of_outcome(outcome) == code


def test_an_unknown_reason_is_a_failure() -> None:
    assert of_reason("SOMETHING_NEW") == ExitCode.FAILURE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (click.UsageError("no such option"), ExitCode.USAGE),
        (NotPermittedError("no"), ExitCode.NOT_PERMITTED),
        (IntegrityError("leaf 3"), ExitCode.UNVERIFIED),
        (BundleRejectedError("no rules"), ExitCode.FAILURE),
        (FileNotFoundError(2, "no such file", "plan.json"), ExitCode.NOT_FOUND),
        (PermissionError(13, "no", "keys"), ExitCode.NOT_PERMITTED),
        (OSError(errno.ENOSPC, "no space"), ExitCode.FAILURE),
        (ZeroDivisionError("ours"), ExitCode.FAILURE),
        (NotFoundError("no trace", grpc.StatusCode.NOT_FOUND), ExitCode.NOT_FOUND),
        (AccessRefusedError("who", grpc.StatusCode.UNAUTHENTICATED), ExitCode.NOT_PERMITTED),
        (RetryLaterError("down", grpc.StatusCode.UNAVAILABLE), ExitCode.UNREACHABLE),
        (RetryLaterError("full", grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"), ExitCode.FAILURE),
        (RetryLaterError("no", grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE"), ExitCode.UNREACHABLE),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: ExitCode) -> None:
    assert failure_of(error).exit_code is code


def test_the_control_planes_own_hint_is_told_as_the_hint() -> None:
    error = NotFoundError("there is no trace x. Look it up first", grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    told = failure_of(error)
    assert (told.message, told.hint) == ("there is no trace x", "Look it up first")


def test_a_missing_place_without_a_name_is_told_in_the_systems_words() -> None:
    told = failure_of(FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"))
    assert told.message == "No usable temporary directory found in ['/tmp']"
    assert (told.hint, told.exit_code) == (
        "Make one of them writable, or name one by TMPDIR",
        ExitCode.NOT_FOUND,
    )


def test_an_error_is_words_on_standard_error_with_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["log", "verify", "--state-dir", str(tmp_path)]) == ExitCode.NOT_FOUND
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: there is no audit log at {tmp_path}")
    assert "\n  hint: " in shown.err


@pytest.mark.parametrize("asked", [["-o", "json"], ["--output=ndjson"], ["--output", "json"]])
def test_an_error_is_a_json_document_where_json_was_asked_for(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["log", "head", "--state-dir", str(tmp_path), *asked]) == ExitCode.NOT_FOUND
    shown = capsys.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["error"]["reason"] == "NOT_FOUND"
    assert json.loads(shown.out)["error"]["exitCode"] == ExitCode.NOT_FOUND


def test_wrong_usage_is_json_too_even_when_the_line_cannot_be_parsed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bundle", "nothing", "-o", "json"]) == ExitCode.USAGE
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "USAGE"


@pytest.mark.parametrize("line", [[], ["trace"], ["bundle"]])
def test_a_group_without_a_command_answers_with_its_help_and_calls_it_no_error(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert shown.err.startswith(f"Usage: {' '.join(['aisecops', *line])}")
    assert "error" not in shown.err.splitlines()[0]
    assert "hint:" not in shown.err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["explain", "01a20982ae9b48c9ce0c356366577976"], "aisecops trace show"),
        (["trace", "show", "dec-01a20982ae9f9622d9ed61fd8629a980"], "aisecops explain dec-01a2"),
    ],
)
def test_a_trace_and_a_decision_that_were_taken_for_each_other_are_told_apart(
    line: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line) == ExitCode.USAGE
    assert told in capsys.readouterr().err


def test_nobody_listening_is_told_apart_from_everything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--state-dir", str(tmp_path), "bundle", "status"]) == ExitCode.UNREACHABLE
    assert "aisecops serve" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_unreachable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = tmp_path / "token"
    token.write_text("x", encoding="ascii")
    line = ["--server", f"unix:{tmp_path}/nobody.sock", "--token-file", str(token), "trace", "list"]
    assert run(line) == ExitCode.UNREACHABLE
    assert "nobody.sock" in capsys.readouterr().err


def test_a_global_option_counts_before_and_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run(["-o", "json", "--state-dir", str(tmp_path), "config", "show"])
    first = capsys.readouterr().out
    after = run(["config", "show", "--state-dir", str(tmp_path), "-o", "json"])
    assert (before, after) == (0, 0)
    assert capsys.readouterr().out == first
    assert json.loads(first)["settings"]["state_dir"] == {"value": str(tmp_path), "origin": "option"}


def test_settings_tell_where_each_value_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("branch: release\nrepository: /from/the/file\n", encoding="utf-8")
    monkeypatch.setenv("AISECOPS_CONFIG", str(file))
    monkeypatch.setenv("AISECOPS_REPOSITORY", "/from/the/environment")
    assert run(["config", "show", "-o", "json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["branch"] == {"value": "release", "origin": "file"}
    assert settings["repository"] == {"value": "/from/the/environment", "origin": "environment"}
    assert settings["poll_seconds"]["origin"] == "default"


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "DISK_FULL"), (errno.EDQUOT, "DISK_FULL"), (errno.EROFS, "READ_ONLY")]
)
def test_a_disk_that_takes_nothing_is_the_disks_fault_and_not_ours(number: int, reason: str) -> None:
    told = failure_of(OSError(number, "no", "/var/lib/aisecops/run"))
    assert (told.reason, "/var/lib/aisecops/run" in told.message) == (reason, True)
    assert "aisecops doctor" in told.hint


def test_on_a_terminal_an_error_breaks_between_words_and_a_path_stays_whole(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 50))
    plan = tmp_path / "-".join(["a-long-name"] * 6)
    subprocess.run(
        [sys.executable, "-m", "aisecops_server", "decide", "-f", str(plan)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(ours)
    assert str(plan) in shown
    assert all(len(line) <= 50 for line in shown.splitlines() if str(plan) not in line)
    assert "\n  hint: " in shown


def test_piped_an_error_is_one_line(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "aisecops_server", "--state-dir", str(tmp_path / ("a" * 90)), "health"]
    shown = subprocess.run(line, capture_output=True, check=False).stderr.decode()
    assert [said.split()[0] for said in shown.splitlines()] == ["error:", "hint:"]


def test_a_plan_with_a_slip_is_told_with_where_and_what_a_plan_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"steps": [{"step_id": "a", "tol": "tickets/read"}]}', encoding="utf-8")
    assert run(["--state-dir", str(tmp_path), "decide", "-f", str(plan)]) == ExitCode.USAGE
    shown = capsys.readouterr().err
    assert "steps[0]: unknown field 'tol'; did you mean 'tool'?" in shown
    assert "says what a plan holds" in shown


@pytest.mark.parametrize(
    ("line", "ways"),
    [
        (("replay", "run", "--against", "main"), ("--local reads the log of the state directory",)),
        (("bundle", "status"), ()),
    ],
)
def test_who_finds_no_control_plane_is_told_what_the_command_can_do_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: tuple[str, ...], ways: tuple[str, ...]
) -> None:
    code = run([*line, "--state-dir", str(tmp_path), "-o", "json"])
    error = json.loads(capsys.readouterr().out)["error"]
    assert (code, error["reason"]) == (ExitCode.UNREACHABLE, "SERVER_UNREACHABLE")
    assert "'aisecops serve'" in error["hint"]
    assert [way for way in ("--local", "--corpus") if way in error["hint"]] == [way.split()[0] for way in ways]
