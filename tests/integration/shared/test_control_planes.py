"""Two control planes of real parts on one database, and a log that moves from its file into one."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import apsw
import pytest
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_server.adapters.git.create import commit_files
from aisecops_server.bootstrap.databases import import_state
from aisecops_server.bootstrap.store import history_of
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.main import run
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError, LogUnavailableError
from aisecops_server.domain.replays.replay import Selection
from aisecops_server.settings import Settings
from aisecops_server.usecases.bundles.activate import Order

from tests.integration.api.real import running, settings_in
from tests.scenes.servers.postgres_servers import PostgresServer

pytestmark = pytest.mark.timeout(280)
BEN = Order("ben", "back to what worked")


def told(_done: int, _of: int) -> None:
    """Tell nobody."""


def plan(number: int) -> PlanBuilder:
    made = PlanBuilder(intent="summarise a ticket", environment="production")
    prompt = made.source("user_prompt", f"Please summarise ticket T-{number}.")
    made.step("tickets/read", {"ticket_id": f"T-{number}"}, influenced_by=[prompt])
    return made


def replica(settings: Settings, root: Path) -> Settings:
    """Return settings of another control plane on the same database, with the same keys."""
    state = root / "other"
    shutil.copytree(settings.state_dir / "keys", state / "keys")
    return settings.model_copy(update={"state_dir": state})


async def decided(client: AsyncClient, number: int) -> str:
    answer = await client.decide(plan(number))
    assert answer.allowed
    return answer.decision.decision_id


def test_control_planes_share_log_and_live_revision(postgres: PostgresServer, tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(update={"database_url": postgres.url(postgres.database())})

    async def together() -> None:
        async with running(settings) as (one, asking):
            await one.policy.sync()
            first = one.policy.status().live
            await decided(asking, 1)
            async with running(replica(settings, tmp_path)) as (two, asking_too):
                made = [await decided(client, number) for number, client in enumerate((asking, asking_too) * 3)]
                for client in (asking, asking_too):
                    for decision in made:
                        assert (await client.explain(decision)).decision.decision_id == decision
                changed = commit_files(
                    tmp_path / "policy", {"README.md": b"changed"}, message="change", at_seconds=1_790_000_100
                )
                assert (await one.policy.sync()).live.commit.id == changed
                assert (await two.policy.sync()).live.commit.id == changed
                # What a person does at one holds at the other, which does not follow the branch over it.
                await two.policy.rollback(BEN)
                assert (await one.policy.sync()).live.commit.id == first.commit.id
                assert (await one.policy.sync()).live.commit.id == first.commit.id
                assert (await two.log.verify()).problem == ""
                activated = [event async for event in one.log.events(from_index=0, follow=False, trace_id="")]
                assert [e.event.type for e in activated].count("bundle.rolled_back") == 1
        # Who starts later serves what is live.
        async with running(settings) as (one, asking):
            await one.resume()
            assert one.policy.status().live.commit.id == first.commit.id
            await decided(asking, 99)

    asyncio.run(together())


def recorded(settings: Settings, count: int) -> None:
    async def deciding() -> None:
        async with running(settings) as (plane, client):
            await plane.policy.sync()
            for number in range(count):
                await decided(client, number)

    asyncio.run(deciding())


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A control plane that kept its log in a file, and stands still."""
    settings = settings_in(tmp_path_factory.mktemp("filed"))
    recorded(settings, 5)
    return settings


def test_a_log_moves_into_a_database_as_it_is_and_goes_on_there(
    filed: Settings, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.url(postgres.database())
    settings = filed.model_copy(update={"database_url": url})
    here = ["--state-dir", str(filed.state_dir), "-o", "json"]
    assert run(["log", "head", *here]) == ExitCode.OK
    before = json.loads(capsys.readouterr().out)
    assert run(["db", "import", "--url", url, *here]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert (said["size"], said["root"]) == (before["size"], before["root"])
    with pytest.raises(InvalidRequestError, match="holds a log already"):
        import_state(settings, told, told)

    async def going_on() -> None:
        history = history_of(settings)
        try:
            assert await history.count(Selection(), until=1 << 40) == 5
        finally:
            await history.close()
        async with running(settings) as (plane, client):
            await plane.resume()
            assert plane.log.sealed == ""
            await decided(client, 6)
            assert (await plane.log.verify()).problem == ""

    asyncio.run(going_on())


def test_a_log_that_is_written_or_was_altered_is_not_moved(
    filed: Settings, postgres: PostgresServer, tmp_path: Path
) -> None:
    state = shutil.copytree(filed.state_dir, tmp_path / "s", ignore=shutil.ignore_patterns("run"))
    url = postgres.url(postgres.database())
    settings = filed.model_copy(update={"database_url": url, "state_dir": state})
    connection = apsw.Connection(str(settings.log_path))
    connection.execute("UPDATE event SET body = CAST(CAST(body AS TEXT) || ' ' AS BLOB) WHERE idx = 3")
    connection.close()
    with pytest.raises(IntegrityError, match="does not verify"):
        import_state(settings, told, told)

    async def importing_beside() -> None:
        async with running(filed):
            with pytest.raises(LogUnavailableError, match="another process"):
                await asyncio.to_thread(
                    import_state, filed.model_copy(update={"database_url": postgres_url}), told, told
                )

    postgres_url = postgres.url(postgres.database())
    asyncio.run(importing_beside())


def test_an_operator_makes_a_database_and_is_told_what_is_wrong_with_it(
    postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    name = postgres.empty_database()
    owner, role = postgres.url(name, "administrator"), postgres.url(name)
    assert run(["db", "status", "--url", role, "-o", "json"]) == ExitCode.FAILURE
    assert "aisecops db init" in json.loads(capsys.readouterr().out)["problems"][0]
    assert run(["db", "init", "--url", owner, "--writer", "replica", "--writer", "nobody-there", "-o", "json"]) != 0
    assert "no role nobody-there" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert run(["db", "init", "--url", owner, "--writer", "replica", "--reader", "auditor", "-o", "json"]) == 0
    capsys.readouterr()
    assert run(["db", "status", "--url", role, "-o", "json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["problems"], found["log"]["size"], found["role"]) == ([], 0, "replica")
    assert run(["db", "status", "--url", owner]) == ExitCode.FAILURE
    assert "owns the log" in " ".join(capsys.readouterr().out.split())
    assert run(["db", "migrate", "--url", "postgresql://ada:secret@db.example/log"]) == ExitCode.USAGE
    told_of_it = capsys.readouterr().err
    assert "passfile" in told_of_it
    assert "secret" not in told_of_it
