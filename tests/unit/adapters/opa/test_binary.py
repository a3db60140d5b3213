"""Which engine runs, and that it is the one that was pinned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from aisecops_server.adapters.opa import binary
from aisecops_server.adapters.opa.binary import LOCK_NAME, EngineBinary, home, inspect, locate, write_lock
from aisecops_server.domain.errors import EngineUnavailableError

from tests.support import opa_binary


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
    path.chmod(0o755)
    return path


def installed(directory: Path) -> EngineBinary:
    home(directory).mkdir(parents=True)
    copy = Path(shutil.copy(opa_binary(), home(directory) / "opa"))
    engine = binary.examine(copy, source="test")
    write_lock(engine, home(directory))
    return engine


def test_a_given_engine_is_used(tmp_path: Path) -> None:
    engine = locate(tmp_path, given=opa_binary())
    assert (engine.path, engine.source) == (opa_binary(), "given path")
    assert len(engine.sha256) == 64


def test_a_given_engine_that_is_unusable_is_an_error_even_when_there_is_another(tmp_path: Path) -> None:
    installed(tmp_path)
    with pytest.raises(EngineUnavailableError, match="not an executable file"):
        locate(tmp_path, given=tmp_path / "nothing")


def test_the_search_path_comes_before_the_engine_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = installed(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "opa").symlink_to(opa_binary())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert locate(tmp_path).source == "PATH"
    assert [engine.path for engine in binary.list_engines(tmp_path)] == [tmp_path / "bin" / "opa", mine.path]


def test_an_engine_on_the_search_path_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin" / "opa", "echo Version: 1.21.3")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(EngineUnavailableError) as raised:
        locate(tmp_path)
    assert "PATH" in raised.value.message
    assert "OPA 1.21.3; at least 1.22.2 is needed" in raised.value.message
    assert "cache: no opa in" in raised.value.message
    mine = installed(tmp_path)
    assert locate(tmp_path).path == mine.path


def test_an_installed_engine_that_changed_is_refused(tmp_path: Path) -> None:
    engine = installed(tmp_path)
    assert inspect(engine.path, source="cache", directory=home(tmp_path)) == engine
    with engine.path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(EngineUnavailableError, match="not the file that was pinned"):
        inspect(engine.path, source="cache", directory=home(tmp_path))
    with pytest.raises(EngineUnavailableError, match="not the file that was pinned"):
        engine.unchanged()


def test_an_installed_engine_that_vanished_is_refused(tmp_path: Path) -> None:
    engine = installed(tmp_path)
    engine.path.unlink()
    with pytest.raises(EngineUnavailableError, match="cannot be read"):
        engine.unchanged()


@pytest.mark.parametrize("lock", ["", "{", "[]", '{"version": "1.22.2"}'])
def test_an_installed_engine_whose_lock_is_broken_is_refused(lock: str, tmp_path: Path) -> None:
    engine = installed(tmp_path)
    (home(tmp_path) / LOCK_NAME).write_text(lock, encoding="ascii")
    with pytest.raises(EngineUnavailableError, match="cannot be read"):
        inspect(engine.path, source="cache", directory=home(tmp_path))


def test_an_installed_engine_without_a_lock_is_refused(tmp_path: Path) -> None:
    engine = installed(tmp_path)
    (home(tmp_path) / LOCK_NAME).unlink()
    with pytest.raises(EngineUnavailableError, match="no lock"):
        inspect(engine.path, source="cache", directory=home(tmp_path))


def test_a_lock_says_version_digest_and_source(tmp_path: Path) -> None:
    engine = installed(tmp_path)
    lock = json.loads((home(tmp_path) / LOCK_NAME).read_text(encoding="ascii"))
    assert lock == {"version": engine.version, "sha256": engine.sha256, "source": "test"}


def test_the_lock_of_an_engine_elsewhere_is_kept_in_the_engine_directory(tmp_path: Path) -> None:
    elsewhere = Path(shutil.copy(opa_binary(), tmp_path / "opa"))
    write_lock(binary.examine(elsewhere, source="given path"), home(tmp_path / "engines"))
    with elsewhere.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(EngineUnavailableError, match="not the file that was pinned"):
        locate(tmp_path / "engines", given=elsewhere)


@pytest.mark.parametrize(
    ("behaviour", "complaint"),
    [
        ("exit 3", "exit status 3"),
        ("echo hello", "does not say which version"),
        ("echo Version: 1.22.1", "at least 1.22.2"),
        ('if [ "$1" = version ]; then echo Version: 9.0.0; else echo allow; fi', "is known to be right"),
    ],
)
def test_what_is_not_a_deciding_opa_is_refused(behaviour: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match=complaint):
        binary.check(script(tmp_path / "opa", behaviour))


def test_versions_are_compared_as_numbers(tmp_path: Path) -> None:
    decide = 'read document; case "$document" in *": 42}"*) echo allow;; *) echo deny;; esac'
    newer = script(tmp_path / "opa", f'if [ "$1" = version ]; then echo Version: 1.100.0; else {decide}; fi')
    assert binary.check(newer) == "1.100.0"
