"""What an engine may do is written down in one place, and these are the lines that must not go missing."""

from __future__ import annotations

import json
import os
from pathlib import Path

from aisecops_server.adapters.opa import doctor, profile
from aisecops_server.adapters.opa.binary import EngineBinary
from aisecops_server.adapters.opa.profile import EngineLimits, Trust

from tests.support import opa_binary

ENGINE = EngineBinary(path=Path("/engine/opa"), version="1.22.2", sha256="0" * 64, source="test")


def test_the_command_line_locks_the_engine_down() -> None:
    command = profile.command(ENGINE, Trust(public_key="pem"))
    options = dict(zip(command[3::2], command[4::2], strict=False))
    assert command[:3] == ["/engine/opa", "run", "--server"]
    assert options["--addr"] == "unix://s"
    assert options["--unix-socket-perm"] == "600"
    assert options["--authorization"] == "basic"
    assert "--skip-version-check" in command
    assert "--skip-verify" not in command
    following = command[command.index("--verification-key") :]
    assert following == [
        "--verification-key",
        "key.pem",
        "--verification-key-id",
        "aisecops",
        "--signing-alg",
        "EdDSA",
    ]


def test_a_scope_is_demanded_when_there_is_one() -> None:
    assert profile.command(ENGINE, Trust(public_key="pem", scope="prod"))[-2:] == ["--scope", "prod"]


def test_the_configuration_caps_bodies_and_names_who_authorizes() -> None:
    written = json.loads(profile.configuration(EngineLimits(body_bytes=1000)))
    assert written == {
        "server": {"decoding": {"max_length": 1000, "gzip": {"max_length": 1000}}},
        "default_authorization_decision": "/system/authz/allow",
    }


def test_the_environment_is_two_settings_of_the_collector() -> None:
    assert profile.environment(EngineLimits(memory_bytes=400)) == {"GOGC": "400", "GOMEMLIMIT": "300"}


def test_the_doctor_finds_an_engine_and_says_what_is_missing(tmp_path: Path) -> None:
    checks = {check.name: check for check in doctor.doctor(tmp_path, given=opa_binary(), run_directory=tmp_path)}
    assert checks["engine"].ok
    assert not checks["engine is pinned by digest"].ok
    assert "aisecops engine install" in checks["engine is pinned by digest"].hint
    assert checks["engine sockets"].ok
    assert checks["engine has no network"].ok == (profile.network() == "none")
    assert all(check.hint for check in checks.values() if not check.ok)


def test_the_doctor_says_how_to_get_an_engine(tmp_path: Path) -> None:
    checks = doctor.doctor(tmp_path, given=tmp_path / "nothing")
    assert not checks[0].ok
    assert "aisecops engine install" in checks[0].hint


def test_a_long_run_directory_is_told(tmp_path: Path) -> None:
    (check,) = [
        check
        for check in doctor.doctor(tmp_path, given=opa_binary(), run_directory=tmp_path / ("d" * 120))
        if check.name == "engine sockets"
    ]
    assert check.ok
    assert "too long" in check.detail
    assert os.sep in check.detail
