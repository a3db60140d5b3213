"""Figures of traces: filled for a log of before, and whole where a trace goes on that lacks them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog, open_log
from aisecops_server.adapters.sqlite.trace_filling import fill
from aisecops_server.domain.traces.trace_query import read_query

from tests.contract.event_log import listed
from tests.contract.variety import varied
from tests.scenes.log.earlier_schema import take_back_migrations_from
from tests.scenes.log.records import Records

QUERIES = ("", "effect:changing", "-effect:read", "steps:>3 cost:>0.02", "budget:>60%", "tokens:<100")


async def written(path: Path, count: int) -> dict[str, list[object]]:
    make, log = Records(), open_log(path)
    traces = [f"{number:032x}" for number in range(count // 3)]
    await log.append_many([varied(make, number, trace_id=traces[number % len(traces)]) for number in range(count)])
    found = await asked(log)
    await log.close()
    return found


async def asked(log: SqliteEventLog) -> dict[str, list[object]]:
    return {query: [*await listed(log, read_query(query).narrow)] for query in QUERIES}


@pytest.mark.asyncio
async def test_a_log_of_an_earlier_version_gets_its_figures_from_its_events_and_verifies(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    before = await written(path, 90)
    assert all(before.values())
    take_back_migrations_from(path, "trace_figure")
    log = open_log(path)
    assert await asked(log) == before
    assert (await log.verify()).ok
    await log.close()


@pytest.mark.asyncio
async def test_a_filling_that_was_cut_off_goes_on_and_a_trace_that_grows_meanwhile_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    before = await written(path, 90)
    connection = apsw.Connection(str(path))
    # Some rows are missing, and some count fewer decisions, as where a program of before went on with a trace.
    connection.execute("DELETE FROM trace_figure WHERE number % 4 = 1")
    connection.execute("UPDATE trace_figure SET decisions = 1, steps = 0, effects = '[]' WHERE number % 4 = 2")
    connection.close()
    log = open_log(path)
    assert await asked(log) == before
    assert (await log.verify()).ok
    await log.close()


@pytest.mark.asyncio
async def test_what_goes_on_while_its_events_are_read_is_left_to_the_next_filling(tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    before = await written(path, 90)
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM trace_figure")
    written_at: list[int] = []

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        with connection:
            if not written_at:
                # As where another control plane appended after the events of the block were read.
                connection.execute("UPDATE trace SET decisions = decisions + 1 WHERE number = 1")
            yield
            written_at.append(connection.execute("SELECT count(*) FROM trace_figure").get)

    fill(connection, alone, most_decisions=7)
    assert written_at == [1, *range(3, 29, 2), 29]
    assert connection.execute("SELECT number FROM trace_figure WHERE number = 1").get is None
    connection.execute("UPDATE trace SET decisions = decisions - 1 WHERE number = 1")
    connection.close()
    log = open_log(path)
    assert await asked(log) == before
    assert (await log.verify()).ok
    await log.close()


@pytest.mark.asyncio
async def test_a_decision_in_a_trace_without_figures_counts_those_before_it(tmp_path: Path) -> None:
    path, make = tmp_path / "audit.db", Records()
    log = open_log(path)
    await log.append_many([varied(make, number, trace_id="a" * 32) for number in range(5)])
    beside = apsw.Connection(str(path))
    beside.execute("DELETE FROM trace_figure")
    await log.append(varied(make, 5, trace_id="a" * 32))
    [trace] = await listed(log)
    assert (trace.decisions, trace.steps) == (6, 12)
    assert (await log.verify()).ok
    beside.execute("DELETE FROM trace_figure")
    report = await log.verify()
    assert "without the figures" in report.problem
    beside.close()
    await log.close()
