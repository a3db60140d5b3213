"""The log of a real control plane as partitions: from its file and from a database, beside it while it runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aisecops_client import PlanBuilder
from aisecops_server.bootstrap.partitions import export_partitions
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_server.domain.errors import InvalidRequestError, LogUnavailableError
from aisecops_server.domain.formats.signed_note import read_note
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.log.merkle import root_of
from aisecops_server.domain.log.record import LogHead
from pyarrow import parquet

from tests.integration.api.real import running, settings_in
from tests.scenes.servers.postgres_servers import PostgresServer

pytestmark = pytest.mark.timeout(280)


def told(_done: int, _of: int | None) -> None:
    """Tell nobody."""


def plan(number: int) -> PlanBuilder:
    made = PlanBuilder(intent="summarise a ticket", environment="production")
    prompt = made.source("user_prompt", f"Please summarise ticket T-{number}.")
    made.step("tickets/read", {"ticket_id": f"T-{number}"}, influenced_by=[prompt])
    return made


def rows_of(folder: Path) -> tuple[str, list[dict[str, object]]]:
    manifest = json.loads((folder / "manifest.json").read_text())
    rows = [row for each in manifest["partitions"] for row in parquet.read_table(folder / each["file"]).to_pylist()]
    return manifest["checkpoint"], rows


@pytest.mark.parametrize("kept_in", ["file", "database"])
def test_what_was_signed_is_exported_beside_a_control_plane(
    postgres: PostgresServer, tmp_path: Path, kept_in: str
) -> None:
    settings = settings_in(tmp_path)
    if kept_in == "database":
        settings = settings.model_copy(update={"database_url": postgres.url(postgres.database())})

    async def exported() -> set[str]:
        async with running(settings) as (plane, client):
            made = {(await client.decide(plan(number))).decision.decision_id for number in range(5)}
            await plane.publish()
            await client.decide(plan(99))
            await export_partitions(settings, tmp_path / "out", size=4, progress=told)
            return made

    made = asyncio.run(exported())
    checkpoint, rows = rows_of(tmp_path / "out")
    hashes = [row["leaf_hash"] for row in rows]
    assert all(isinstance(each, bytes) for each in hashes)
    assert LogHead(len(hashes), root_of(hashes)) == read_checkpoint(read_note(checkpoint).text).head  # type: ignore[arg-type]
    assert made <= {row["decision_id"] for row in rows}
    assert all(row["document"] for row in rows if row["decision_id"])


def test_the_command_says_what_it_wrote_and_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_in(tmp_path)
    with pytest.raises(LogUnavailableError):
        asyncio.run(export_partitions(settings, tmp_path / "out", progress=told))

    async def decided() -> None:
        async with running(settings) as (plane, client):
            await client.decide(plan(1))
            await plane.publish()

    asyncio.run(decided())
    asked = ["log", "export-partitions", "--state-dir", str(settings.state_dir), "-o", "json"]
    assert run([*asked, str(tmp_path / "out"), "--leaves", "3"]) == ExitCode.USAGE
    capsys.readouterr()
    assert run([*asked, str(tmp_path / "out"), "--leaves", "2"]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert said["leaves"] == len(rows_of(tmp_path / "out")[1]) > 0
    settings.checkpoint_path.unlink()
    with pytest.raises(InvalidRequestError, match="no checkpoint"):
        asyncio.run(export_partitions(settings, tmp_path / "out", progress=told))
