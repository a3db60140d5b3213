from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run

from tests.scenes.log.records import Records

AUDIT_DB = "audit.db"


def append(state: Path, *names: str) -> None:
    """Add decisions to the log of a state directory, as a control plane would."""

    async def work() -> None:
        log = open_log(state / AUDIT_DB, LogOptions(minimum_free_bytes=0))
        await log.append_many([Records(name).record() for name in names])
        await log.close()

    asyncio.run(work())


@pytest.fixture
def kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The head of a log that has grown since, kept in a file."""
    append(tmp_path, "a", "b")
    assert run(["log", "head", "--state-dir", str(tmp_path), "-o", "json"]) == ExitCode.OK
    file = tmp_path / "monday.json"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    append(tmp_path, "c")
    return file


def verified(kept: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    line = ["log", "verify", "--state-dir", str(kept.parent), "--against", str(kept), "-o", "json"]
    return run(line), json.loads(capsys.readouterr().out)


def test_a_log_that_only_grew_begins_with_the_head_that_was_kept(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = verified(kept, capsys)
    assert (code, report["ok"]) == (ExitCode.OK, True)
    assert report["against"] == json.loads(kept.read_text(encoding="utf-8"))


def test_a_log_that_was_rewritten_as_a_whole_is_found_by_the_head_that_was_kept(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in kept.parent.glob(f"{AUDIT_DB}*"):
        file.unlink()
    append(kept.parent, "x", "y", "z")
    assert run(["log", "verify", "--state-dir", str(kept.parent)]) == ExitCode.OK
    capsys.readouterr()
    code, report = verified(kept, capsys)
    assert (code, report["ok"]) == (ExitCode.UNVERIFIED, False)
    assert "are not those of the head that was kept" in str(report["problem"])


def test_a_log_that_was_cut_short_is_found_too(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in kept.parent.glob(f"{AUDIT_DB}*"):
        file.unlink()
    append(kept.parent, "a")
    code, report = verified(kept, capsys)
    assert code == ExitCode.UNVERIFIED
    assert "the head that was kept had" in str(report["problem"])


def test_a_file_that_holds_no_head_is_wrong_usage(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept.write_text('{"size": 3}', encoding="utf-8")
    line = ["log", "verify", "--state-dir", str(kept.parent), "--against", str(kept)]
    assert run(line) == ExitCode.USAGE
    assert "log head -o json" in capsys.readouterr().err
