"""What the log says of an agent that is said to stand above another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import apsw
import pytest
import pytest_asyncio
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog, open_log
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.plans.plan import Delegate

from tests.scenes.log.records import Records

TRACE, OTHER = "a" * 32, "b" * 32
ROOT = Delegate("root", OTHER)


@pytest_asyncio.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteEventLog]:
    opened = open_log(tmp_path / "audit.db")
    yield opened
    await opened.close()


def chain(*links: Delegate) -> dict[str, object]:
    return {"delegation": [{"agent_id": link.agent_id, "trace_id": link.trace_id} for link in links]}


async def stored(log: SqliteEventLog, records: Records, *below: Delegate, **wishes: object) -> None:
    await log.append(records.record(**{"trace_id": TRACE, "agent": "planner", "details": chain(*below), **wishes}))


async def shows(log: SqliteEventLog, *below: Delegate, agent: str = "planner", trace: str = TRACE) -> bool:
    return await log.acted(agent, trace, below=below)


@pytest.mark.asyncio
async def test_an_agent_that_was_allowed_in_the_trace_acted_there(log: SqliteEventLog) -> None:
    await stored(log, Records())
    assert await shows(log)
    assert not await shows(log, agent="stranger")
    assert not await shows(log, trace=OTHER)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "wishes", [{"outcome": Outcome.DENY}, {"outcome": Outcome.REQUIRE_APPROVAL}, {"mode": Mode.DRY_RUN}]
)
async def test_only_what_was_allowed_for_real_counts(log: SqliteEventLog, wishes: dict[str, object]) -> None:
    records = Records()
    await stored(log, records, **wishes)
    assert not await shows(log)
    await stored(log, records)
    await stored(log, records, **wishes)
    assert await shows(log)


@pytest.mark.asyncio
async def test_an_allow_of_another_agent_in_the_same_trace_is_not_its_own(log: SqliteEventLog) -> None:
    records = Records()
    await stored(log, records, outcome=Outcome.DENY)
    await stored(log, records, agent="other")
    assert not await shows(log)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "claimed", [(), (Delegate("root", TRACE),), (Delegate("other", OTHER),), (ROOT, ROOT)], ids=str
)
async def test_the_chain_above_it_is_exactly_the_one_that_it_acted_below(
    log: SqliteEventLog, claimed: Sequence[Delegate]
) -> None:
    await stored(log, Records(), ROOT)
    assert await shows(log, ROOT)
    # Above all it cannot be said to have acted on its own.
    assert not await shows(log, *claimed)


@pytest.mark.asyncio
async def test_an_agent_that_acted_on_its_own_was_not_called_by_anybody(log: SqliteEventLog) -> None:
    await stored(log, Records())
    assert not await shows(log, ROOT)


@pytest.mark.asyncio
async def test_of_many_decisions_the_right_one_is_found(log: SqliteEventLog) -> None:
    records = Records()
    await stored(log, records, ROOT)
    await log.append_many(
        [records.record(trace_id=TRACE, agent="planner", details=chain()) for _ in range(300)],
    )
    assert await shows(log, ROOT)


@pytest.mark.asyncio
async def test_a_decision_that_was_altered_shows_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path / "audit.db")
    await stored(log, Records(), outcome=Outcome.DENY)
    await log.close()
    connection = apsw.Connection(str(tmp_path / "audit.db"))
    altered = "CAST(replace(CAST(body AS TEXT), '\"DENY\"', '\"ALLOW\"') AS BLOB)"
    connection.execute(f"UPDATE event SET body = {altered}")
    connection.close()
    again = open_log(tmp_path / "audit.db")
    try:
        with pytest.raises(IntegrityError):
            await shows(again)
    finally:
        await again.close()
