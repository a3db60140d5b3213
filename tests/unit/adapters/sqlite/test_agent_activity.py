"""What agents asked is counted with every decision, and held against the decisions that prove it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
import pytest_asyncio
from aisecops_server.adapters.sqlite import database, schema
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog, open_log, open_log_read_only
from aisecops_server.domain.agents.agent import Activity
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.log.record import DecisionRecord

from tests.scenes.log.records import START_NS, Records

SECOND = 1_000_000


@pytest_asyncio.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteEventLog]:
    opened = open_log(tmp_path / "audit.db")
    yield opened
    await opened.close()


def asked_by(records: Records, *roles: Role, **wishes: object) -> DecisionRecord:
    """Return a record of somebody with these roles."""
    record = records.record(**wishes)
    decision = replace(record.decision, principal=replace(record.decision.principal, roles=frozenset(roles)))
    details = {"trust": {"prompt": "internal"}}
    plan = {"intent": record.intent, "steps": [{"tool": tool} for tool in record.tools]}
    return replace(record, decision=decision, events=records.events(decision, plan, details))


async def known(log: SqliteEventLog) -> dict[str, Activity]:
    return {activity.agent_id: activity for activity in await log.agents.after("", limit=100)}


@pytest.mark.asyncio
async def test_decisions_are_counted_by_outcome_and_dry_runs_apart(log: SqliteEventLog) -> None:
    records = Records()
    wishes = [
        *[{"outcome": outcome} for outcome in (Outcome.ALLOW, Outcome.ALLOW, Outcome.DENY, Outcome.REQUIRE_APPROVAL)],
        {"mode": Mode.DRY_RUN, "outcome": Outcome.DENY},
        {"agent": "agent-b"},
    ]
    await log.append_many([records.record(**wish) for wish in wishes[:3]])
    for wish in wishes[3:]:
        await log.append(records.record(**wish))
    assert await known(log) == {
        "agent-a": Activity("agent-a", START_NS, START_NS + 4 * SECOND, allowed=2, denied=1, held=1, tried=1),
        "agent-b": Activity("agent-b", START_NS + 5 * SECOND, START_NS + 5 * SECOND, allowed=1),
    }
    assert (await log.verify()).ok


@pytest.mark.asyncio
async def test_people_who_try_plans_are_no_agents(log: SqliteEventLog) -> None:
    records = Records()
    await log.append(asked_by(records, Role.APP, mode=Mode.DRY_RUN, agent="app"))
    await log.append(asked_by(records, *Role, mode=Mode.DRY_RUN, agent="operator"))
    assert await known(log) == {}
    # Who asks for real does so as an agent, whatever else it may do.
    await log.append(asked_by(records, *Role, agent="operator"))
    assert set(await known(log)) == {"operator"}
    assert (await log.verify()).ok


@pytest.mark.asyncio
async def test_a_retry_is_not_counted_again(log: SqliteEventLog) -> None:
    records = Records()
    await log.append(records.record(key="once"))
    await log.append(records.record(key="once"))
    assert (await known(log))["agent-a"].allowed == 1


@pytest.mark.asyncio
async def test_some_are_looked_up_and_the_others_counted(log: SqliteEventLog) -> None:
    records = Records()
    await log.append_many([records.record(agent=f"agent-{number}") for number in range(5)])
    assert set(await log.agents.of(["agent-1", "agent-3", "stranger"])) == {"agent-1", "agent-3"}
    assert await log.agents.count_others(["agent-1", "stranger"]) == 4
    assert [found.agent_id for found in await log.agents.after("agent-1", limit=2)] == ["agent-2", "agent-3"]


TAMPERED = {
    "another figure": "UPDATE agent_activity SET denied = denied + 1",
    "another time": "UPDATE agent_activity SET last_at = last_at + 1000",
    "one too many": "INSERT INTO agent_activity VALUES ('ghost', 1, 1, 1, 0, 0, 0)",
    "one too few": "DELETE FROM agent_activity",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", TAMPERED)
async def test_what_is_counted_otherwise_than_decided_is_found(tmp_path: Path, kind: str) -> None:
    log = open_log(tmp_path / "audit.db")
    await log.append(Records().record())
    await log.close()
    connection = apsw.Connection(str(tmp_path / "audit.db"))
    connection.execute(TAMPERED[kind])
    connection.close()
    again = open_log_read_only(tmp_path / "audit.db")
    report = await again.verify()
    await again.close()
    assert not report.ok
    assert "what agent" in report.problem


@pytest.mark.asyncio
async def test_a_log_of_an_earlier_version_is_counted_when_it_is_opened(tmp_path: Path) -> None:
    records = Records()
    log = open_log(tmp_path / "audit.db")
    for wish in ({}, {"outcome": Outcome.DENY}, {"mode": Mode.DRY_RUN}, {"agent": "agent-b"}):
        await log.append(records.record(**wish))
    await log.append(asked_by(records, Role.APP, mode=Mode.DRY_RUN, agent="app"))
    expected = await known(log)
    await log.close()
    version = next(at for at, text in enumerate(schema.MIGRATIONS, 1) if "agent_activity" in text)
    connection = apsw.Connection(str(tmp_path / "audit.db"))
    connection.execute("DROP TABLE agent_activity")
    connection.execute(f"DELETE FROM migration WHERE version >= {version}")
    database.migrate(connection, schema.MIGRATIONS[:version], application_id=schema.APPLICATION_ID)
    connection.close()
    again = open_log_read_only(tmp_path / "audit.db")
    assert await known(again) == expected
    assert (await again.verify()).ok
    await again.close()
