from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from aisecops_server.adapters.identity.local_authority import open_authority
from aisecops_server.adapters.identity.trial_folder import Wish, make_trial
from aisecops_server.adapters.system import RandomChance, SystemClock
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_server.cli.running.checks import (
    Check,
    callers_check,
    exit_code,
    log_check,
    repository_check,
    state_check,
    webhooks_check,
)
from aisecops_server.settings import Settings
from aisecops_server.usecases.approvals.send_notices import SendNotices
from cryptography import x509

from tests.scenes.approvals.approval_scene import approval_scene
from tests.scenes.servers.certificates import Pair, certificate
from tests.scenes.servers.webhook_receiver import Receiver
from tests.support import opa_binary


def test_skipped_is_not_passed_and_does_not_fail() -> None:
    assert exit_code([Check("a", "skipped", ""), Check("b", "warn", "")]) is ExitCode.OK
    assert exit_code([Check("a", "ok", ""), Check("b", "fail", "")]) is ExitCode.FAILURE


def test_what_is_not_configured_is_skipped_and_says_how_to_mend_it(tmp_path: Path) -> None:
    found = repository_check(Settings(state_dir=tmp_path))
    assert (found.state, "aisecops dev policy" in found.mend) == ("skipped", True)
    assert log_check(Settings(state_dir=tmp_path)).state == "skipped"


def test_a_repository_that_is_not_there_fails(tmp_path: Path) -> None:
    assert repository_check(Settings(state_dir=tmp_path, repository=str(tmp_path / "nowhere"))).state == "fail"


def test_a_state_directory_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert state_check(Settings(state_dir=tmp_path)).state == "warn"
    tmp_path.chmod(0o700)
    assert state_check(Settings(state_dir=tmp_path)).state == "ok"


def test_a_log_that_is_no_log_fails(tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_bytes(b"this is no database, and never was one" * 100)
    assert log_check(Settings(state_dir=tmp_path)).state == "fail"


def test_messages_that_were_given_up_are_warned_of(tmp_path: Path) -> None:
    assert webhooks_check(Settings(state_dir=tmp_path)).state == "skipped"
    bad = webhooks_check(Settings(state_dir=tmp_path, webhooks=("pager http://chat.example/hook nowhere",)))
    assert (bad.state, "https" in bad.detail) == ("fail", True)
    setting = Receiver(port=1).endpoint(tmp_path)
    settings = Settings(state_dir=tmp_path, webhooks=(setting,))
    assert webhooks_check(settings).state == "ok"

    async def ask(*, give_up: bool) -> None:
        async with approval_scene(tmp_path, endpoints=("pager",)) as scene:
            await scene.asked()
            if give_up:
                await SendNotices(
                    scene.log, scene.store, {}, scene.clock, scene.ids, RandomChance()
                ).give_up_strangers()

    asyncio.run(ask(give_up=False))
    waits = webhooks_check(settings)
    assert (waits.state, "1 message waits, 0 given up" in waits.detail) == ("ok", True)
    asyncio.run(ask(give_up=True))
    given_up = webhooks_check(settings)
    assert (given_up.state, "no endpoint of that name is set" in given_up.detail) == ("warn", True)


def test_doctor_fails_without_an_engine_and_names_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AISECOPS_ENGINE_PATH", str(tmp_path / "no-opa"))
    assert run(["doctor", "--state-dir", str(tmp_path), "-o", "json"]) == ExitCode.FAILURE
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["engine"]["state"] == "fail"
    assert "aisecops engine install" in checks["engine"]["mend"]


def test_doctor_passes_with_an_engine_and_counts_what_it_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AISECOPS_ENGINE_PATH", str(opa_binary()))
    assert run(["doctor", "--state-dir", str(tmp_path), "-o", "json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert (counts["fail"], counts["skipped"]) == (0, 6)


def test_the_engines_path_is_all_that_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AISECOPS_ENGINE_PATH", str(opa_binary()))
    assert run(["engine", "path"]) == 0
    assert capsys.readouterr().out == f"{opa_binary()}\n"


def test_no_engine_is_exit_code_eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISECOPS_ENGINE_PATH", str(tmp_path / "no-opa"))
    assert run(["engine", "path"]) == ExitCode.UNREACHABLE


def test_an_engine_that_was_brought_is_adopted_and_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AISECOPS_ENGINE_DIR", str(tmp_path))
    assert run(["engine", "install", "--from", str(opa_binary()), "-o", "json", "-q"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    adopted = json.loads(shown.out)
    monkeypatch.setenv("AISECOPS_ENGINE_PATH", adopted["path"])
    assert run(["engine", "doctor", "-o", "json"]) == 0
    states = {check["name"]: check["state"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert states["engine is pinned by digest"] == "ok"


def test_a_file_that_is_no_engine_is_not_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISECOPS_ENGINE_DIR", str(tmp_path))
    (tmp_path / "opa").write_text("#!/bin/sh\necho Version: 99.0.0\n", encoding="utf-8")
    (tmp_path / "opa").chmod(0o755)
    assert run(["engine", "install", "--from", str(tmp_path / "opa"), "-q"]) == ExitCode.UNREACHABLE


def with_certificates(root: Path, *, hours: int) -> Settings:
    folder = root / "ca"
    made = make_trial(folder, Wish("corp.example", ["support"], {}, ["localhost"], hours), SystemClock())
    return Settings(**yaml.safe_load(made.settings.read_text()), state_dir=root / "state")


def test_what_authenticates_callers_is_looked_at_whole(tmp_path: Path) -> None:
    assert callers_check(Settings(state_dir=tmp_path)).state == "skipped"
    settings = with_certificates(tmp_path, hours=1)
    assert callers_check(settings).state == "ok"
    assert callers_check(settings.model_copy(update={"trust_domain": "*"})).state == "fail"
    assert callers_check(settings.model_copy(update={"token_keys": str(tmp_path / "nowhere")})).state == "fail"
    hung = {"token_keys": "http://127.0.0.1:1/keys", "token_issuer": "x"}
    assert "cannot be fetched" in callers_check(settings.model_copy(update=hung)).detail
    (tmp_path / "ca/identities.yaml").write_text("people: 3")
    assert callers_check(settings).state == "fail"


def test_a_certificate_that_nears_its_end_is_warned_of(tmp_path: Path) -> None:
    settings = with_certificates(tmp_path, hours=1)
    authority = open_authority(tmp_path / "ca", SystemClock())
    now = SystemClock().now_ns() / 1e9
    ending = certificate(
        x509.DNSName("localhost"), of=Pair(authority.certificate, authority.key), begins=-3600, ends=60, now=now
    )
    ending.write(tmp_path / "ca/server.pem", tmp_path / "ca/server.key")
    found = callers_check(settings)
    assert (found.state, "without a restart" in found.mend) == ("warn", True)
