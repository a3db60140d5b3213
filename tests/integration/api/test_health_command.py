"""``aisecops health`` as a probe calls it: without a credential, and never green when nothing could be decided."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run

from tests.integration.api.real import running, settings_in

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]


async def asked(address: str, *words: str) -> int:
    return await asyncio.to_thread(run, ["--server", address, "-o", "json", "health", "--seconds", "30", *words])


async def test_it_is_green_while_plans_are_decided_and_red_when_they_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_in(tmp_path)
    address = f"unix:{settings.socket}"
    async with running(settings):
        assert await asked(address) == ExitCode.OK
        assert json.loads(capsys.readouterr().out) == {"state": "SERVING"}
    async with running(settings.model_copy(update={"state_dir": tmp_path / "o", "branch": "nowhere"})) as (plane, _):
        address = f"unix:{tmp_path / 'o' / 'run' / 'aisecops.sock'}"
        assert plane.live.live is None
        assert await asked(address) == ExitCode.FAILURE
        assert json.loads(capsys.readouterr().out) == {"state": "NOT_SERVING"}
        assert await asked(address, "--alive") == ExitCode.OK
    capsys.readouterr()
    assert await asked(address) == ExitCode.UNREACHABLE
    said = capsys.readouterr()
    assert "SERVER_UNREACHABLE" in said.out + said.err
