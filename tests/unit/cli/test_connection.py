"""Which way a command takes to the control plane, and what it says when what was given does not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run

VARIABLES = (
    "AISECOPS_SERVER",
    "AISECOPS_CA_FILE",
    "AISECOPS_CERT_FILE",
    "AISECOPS_CERT_KEY_FILE",
    "AISECOPS_TOKEN_FILE",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AISECOPS_STATE_DIR", str(tmp_path / "state"))
    assert run(["dev", "ca", str(tmp_path / "ca"), "--quiet"]) == 0
    capsys.readouterr()
    return tmp_path / "ca"


def told(capsys: pytest.CaptureFixture[str], *line: str) -> tuple[int, str]:
    code = run(list(line))
    return code, capsys.readouterr().err


def test_elsewhere_is_reached_over_tls_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = told(capsys, "bundle", "status", "--server", "control.example:8443")
    assert code == ExitCode.USAGE
    assert "over TLS only" in said
    assert "--ca" in said


def test_a_certificate_says_nothing_over_a_unix_socket(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = told(capsys, "bundle", "status", "--cert", str(folder / "person/ada.pem"))
    assert code == ExitCode.USAGE
    assert "--server" in said


def test_an_agent_and_a_certificate_are_two_who_ask(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plan.json").write_text('{"steps": []}')
    code, said = told(
        capsys,
        *("decide", "-f", str(folder / "plan.json"), "--agent", "spiffe://corp.example/agent/a"),
        *("--server", "localhost:1", "--ca", str(folder / "ca.pem"), "--cert", str(folder / "person/ada.pem")),
    )
    assert code == ExitCode.USAGE
    assert "says who asks" in said


def test_a_certificate_without_its_key_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "person/ada.key").unlink()
    code, said = told(
        capsys,
        *("bundle", "status", "--server", "localhost:1"),
        *("--ca", str(folder / "ca.pem"), "--cert", str(folder / "person/ada.pem")),
    )
    assert code == ExitCode.NOT_FOUND
    assert "ada.key" in said


def test_a_folder_that_is_no_authority_s_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ca.key").write_text("letmein")
    before = sorted((path, path.read_bytes()) for path in folder.rglob("*.pem"))
    code, said = told(capsys, "dev", "ca", str(folder))
    assert code == ExitCode.USAGE
    assert "cannot hold a certificate authority" in said
    assert sorted((path, path.read_bytes()) for path in folder.rglob("*.pem")) == before


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "a b", ".."])
def test_a_name_cannot_lead_out_of_the_folder(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert told(capsys, "dev", "ca", str(folder), "--agent", name)[0] == ExitCode.USAGE
    assert told(capsys, "dev", "ca", str(folder), "--person", f"{name}=security")[0] == ExitCode.USAGE
    assert not list(folder.parent.glob("*evil*"))


def test_made_again_everybody_is_renewed_and_what_was_written_stays(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identities = folder / "identities.yaml"
    identities.write_text(identities.read_text().replace("withdrawn: []", "withdrawn: [mallory]"))
    before = (folder / "person/ada.pem").read_bytes()
    assert told(capsys, "dev", "ca", str(folder), "--person", "eve=app,auditor")[0] == 0
    assert (folder / "person/ada.pem").read_bytes() != before
    assert (folder / "person/eve.key").stat().st_mode & 0o777 == 0o600
    content = identities.read_text()
    assert "mallory" in content
    assert "spiffe://corp.example/person/eve" in content
    assert "spiffe://corp.example/person/ada" in content
