from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.adapters.opa.binary import PINNED_VERSION
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run

from tests.support import opa_binary

BUILDING = f"building OPA {PINNED_VERSION} with Go; this takes a few minutes, once"


@pytest.fixture
def go_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which Go is the only way to an engine."""
    tools = tmp_path / "bin"
    tools.mkdir()
    go = tools / "go"
    go.write_text(f'#!/bin/sh\necho "go: downloading"\n/bin/cp {opa_binary()} "$GOBIN/opa"\n', encoding="utf-8")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("AISECOPS_ENGINE_DIR", str(tmp_path / "engines"))
    monkeypatch.delenv("AISECOPS_ENGINE_PATH", raising=False)


@pytest.mark.usefixtures("go_only")
def test_an_install_says_only_which_way_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "install"]) == ExitCode.OK
    shown = capsys.readouterr()
    assert shown.err == f"{BUILDING}\n"
    assert shown.out.startswith(f"OPA {PINNED_VERSION} at ")


@pytest.mark.usefixtures("go_only")
def test_a_verbose_install_says_every_way_and_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "install", "--verbose"]) == ExitCode.OK
    told = capsys.readouterr().err.splitlines()
    assert "PATH: no opa on PATH" in told
    assert f"go install: {BUILDING}" in told
    assert "go install: go: downloading" in told


@pytest.mark.usefixtures("go_only")
def test_a_quiet_install_says_nothing_but_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "install", "--quiet"]) == ExitCode.OK
    assert capsys.readouterr().err == ""
