"""Somebody changes only the list of traces, to hide one. The check says so, and names the trace and its outcome."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.plans.provenance import TrustLevel

from tests.fault.log_copies import copied, verified
from tests.scenes.log.records import Records

DECISIONS = 60
TRACES = 25
PER_KIND = 15

# A forgery changes the list of traces, and returns the trace and the outcome event that must be named.
Forgery = Callable[[apsw.Connection, random.Random], tuple[str, int]]


def a_trace(connection: apsw.Connection, chance: random.Random) -> tuple[int, str, int]:
    """The number of a trace, its id, and the index of its latest outcome event."""
    query = """
        SELECT t.number, t.trace_id, max(d.outcome_idx) FROM trace AS t JOIN decision AS d ON d.trace = t.number
        WHERE t.number = ?"""
    return connection.execute(query, (chance.randrange(TRACES),)).get


def listed_with_another(column: str, value: str, table: str = "trace") -> Forgery:
    def forge(connection: apsw.Connection, chance: random.Random) -> tuple[str, int]:
        number, trace_id, index = a_trace(connection, chance)
        connection.execute(f"UPDATE {table} SET {column} = {value} WHERE number = ?", (number,))
        return trace_id, index

    forge.__name__ = column
    return forge


def outcome_exchanged(connection: apsw.Connection, chance: random.Random) -> tuple[str, int]:
    """Row and bits agree with each other: a blocked trace passes for an allowed one."""
    blocked = connection.execute("SELECT number FROM trace WHERE outcome = 'DENY'").fetchall()
    number = chance.choice(blocked)[0]
    connection.execute("UPDATE trace SET outcome = 'ALLOW' WHERE number = ?", (number,))
    for value in ("DENY", "ALLOW"):
        flip(connection, term=("outcome", value), number=number)
    query = """
        SELECT t.trace_id, max(d.outcome_idx) FROM trace AS t JOIN decision AS d ON d.trace = t.number
        WHERE t.number = ?"""
    return connection.execute(query, (number,)).get


def flip(connection: apsw.Connection, *, term: tuple[str, str], number: int) -> None:
    query = "SELECT p.term, p.bits FROM trace_posting AS p JOIN term AS t ON t.id = p.term WHERE (kind, value) = (?, ?)"
    found, bits = connection.execute(query, term).get
    turned = int.from_bytes(bits, "little") ^ 1 << number
    connection.execute("UPDATE trace_posting SET bits = ? WHERE term = ?", (turned.to_bytes(8, "little"), found))


def traces_exchanged(connection: apsw.Connection, chance: random.Random) -> tuple[str, int]:
    """The rows of two traces change places, with their decisions: newest first is no longer newest first."""
    number = chance.randrange(TRACES - 1)
    for table, column in (("trace", "number"), ("decision", "trace")):
        for before, after in ((number, -1), (number + 1, number), (-1, number + 1)):
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (after, before))
    query = """
        SELECT t.trace_id, max(d.outcome_idx) FROM trace AS t JOIN decision AS d ON d.trace = t.number
        WHERE t.number = ?"""
    return connection.execute(query, (number + 1,)).get


def block_times(connection: apsw.Connection, chance: random.Random) -> tuple[str, int]:
    column, by = chance.choice(("earliest", "latest")), chance.choice((-1000, 1000))
    connection.execute(f"UPDATE trace_block SET {column} = {column} + ?", (by,))
    return first_trace(connection)


def block_dropped(connection: apsw.Connection, chance: random.Random) -> tuple[str, int]:
    connection.execute("DELETE FROM trace_block")
    return first_trace(connection)


def first_trace(connection: apsw.Connection) -> tuple[str, int]:
    query = """
        SELECT t.trace_id, max(d.outcome_idx) FROM trace AS t JOIN decision AS d ON d.trace = t.number
        WHERE t.number = 0"""
    return connection.execute(query).get


FORGERIES: list[Forgery] = [
    listed_with_another("agent_id", "agent_id || 'x'"),
    listed_with_another("agents", "'[]'"),
    listed_with_another("outcome", "CASE outcome WHEN 'ALLOW' THEN 'DENY' ELSE 'ALLOW' END"),
    listed_with_another("mode", "CASE mode WHEN 'ENFORCE' THEN 'DRY_RUN' ELSE 'ENFORCE' END"),
    listed_with_another("intent", "''"),
    listed_with_another("tools", "'[]'"),
    listed_with_another("rules", """'["forged.rule"]'"""),
    listed_with_another("lowest_trust", "CASE lowest_trust WHEN 'trusted' THEN 'external' ELSE 'trusted' END"),
    listed_with_another("bundle_revision", "'forged'"),
    listed_with_another("decisions", "decisions + 1"),
    listed_with_another("started_at", "started_at - 1000"),
    listed_with_another("last_at", "last_at + 1000"),
    listed_with_another("effects", """'["forged"]'""", "trace_figure"),
    listed_with_another("steps", "steps + 1", "trace_figure"),
    listed_with_another("tokens", "tokens + 1", "trace_figure"),
    listed_with_another("micro_usd", "micro_usd + 1", "trace_figure"),
    listed_with_another("budget_share", "budget_share + 1", "trace_figure"),
    listed_with_another("gates", "replace(gates, 'b', 'a') || 'a'", "trace_figure"),
    listed_with_another("decisions", "decisions - 1", "trace_figure"),
    outcome_exchanged,
    traces_exchanged,
    block_times,
    block_dropped,
]

# Superfluous rows belong to no event; what the report must name instead.
SUPERFLUOUS = {
    "trace behind the last": (
        """
        INSERT INTO trace SELECT number + 1, 'forged', agent_id, outcome, mode, intent, tools, rules, lowest_trust,
            bundle_revision, decisions, started_at, last_at, agents FROM trace ORDER BY number DESC LIMIT 1""",
        "trace 'forged'",
    ),
    "trace far behind the last": (
        """
        INSERT INTO trace SELECT number + 5000, 'forged', agent_id, outcome, mode, intent, tools, rules, lowest_trust,
            bundle_revision, decisions, started_at, last_at, agents FROM trace ORDER BY number DESC LIMIT 1""",
        "trace 'forged'",
    ),
    "trace before the first": (
        """
        INSERT INTO trace SELECT -1, 'forged', agent_id, outcome, mode, intent, tools, rules, lowest_trust,
            bundle_revision, decisions, started_at, last_at, agents FROM trace LIMIT 1""",
        "trace 'forged'",
    ),
    "figures": ("INSERT INTO trace_figure VALUES (25, 1, '[]', 1, 0, 0, 0, 'aaaaaana')", "number 25"),
    "block": ("INSERT INTO trace_block VALUES (1, 0, 0)", "block 1"),
    "posting": ("INSERT INTO trace_posting SELECT 3, term, bits FROM trace_posting LIMIT 1", "block 3"),
    # The bits of 25 traces are 4 bytes, if the last trace is among them.
    "bit": (
        "UPDATE trace_posting SET bits = CAST(bits || zeroblob(100) || x'01' AS BLOB) WHERE length(bits) = 4",
        "trace number 832",
    ),
    "posting of no term": ("INSERT INTO trace_posting VALUES (0, 9999, x'')", "term number 9999"),
    "term": ("INSERT INTO term (kind, value) VALUES ('agent', 'forged')", "'agent forged'"),
}

# Rows without which a trace is not found, by their key. Terms that every trace has lost again hide nothing.
ROWS = {
    "trace": ("number", ""),
    "trace_figure": ("number", ""),
    "term": ("id", "WHERE id IN (SELECT term FROM trace_posting WHERE bits <> x'')"),
    "trace_posting": ("term", "WHERE bits <> x''"),
}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 60 decisions in 25 traces, in which everything that a trace is listed with differs."""
    database = tmp_path_factory.mktemp("traced") / "audit.db"

    async def write() -> None:
        make, chance = Records(), random.Random(7)
        log = open_log(database, LogOptions(minimum_free_bytes=0))
        for number in range(DECISIONS):
            record = make.record(
                trace_id=f"{number % TRACES:032x}",
                agent=f"agent-{chance.randrange(5)}",
                outcome=chance.choice(list(Outcome)),
                mode=chance.choice(list(Mode)),
                tools=chance.sample(("mail/send", "tickets/read", "files/delete", "web/fetch"), 2),
                rules=chance.sample(("plan.size", "identity.unknown", "tool.destructive"), 2),
                trust=chance.choice(list(TrustLevel)).value,
                revision=f"{number // 20:040x}",
                intent=f"request {number}",
            )
            await log.append(record)
        await log.close()

    asyncio.run(write())
    return database


@pytest.mark.asyncio
async def test_an_untouched_list_of_traces_verifies(traced: Path, tmp_path: Path) -> None:
    report = await verified(copied(traced, tmp_path, "same"))
    assert (report.ok, report.stored.size) == (True, 6 * DECISIONS), report.problem


@pytest.mark.asyncio
@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
async def test_every_change_to_what_is_listed_of_a_trace_is_found_and_named(
    forgery: Forgery, traced: Path, tmp_path: Path
) -> None:
    for seed in range(PER_KIND):
        database = copied(traced, tmp_path, str(seed))
        connection = apsw.Connection(str(database))
        trace_id, index = forgery(connection, random.Random(seed))
        connection.close()
        report = await verified(database)
        assert (report.ok, report.bad_index) == (False, index), f"seed {seed}: {report.problem}"
        assert f"event {index}: its trace {trace_id} " in report.problem


@pytest.mark.asyncio
async def test_every_bit_of_the_search_is_found_when_flipped(traced: Path, tmp_path: Path) -> None:
    connection = apsw.Connection(str(traced))
    terms = connection.execute("SELECT kind, value FROM term ORDER BY id").fetchall()
    query = """
        SELECT t.trace_id, max(d.outcome_idx) FROM trace AS t JOIN decision AS d ON d.trace = t.number
        GROUP BY t.number ORDER BY t.number"""
    traces = connection.execute(query).fetchall()
    connection.close()
    assert {kind for kind, _ in terms} == {"agent", "outcome", "mode", "trust", "revision", "tool", "rule"}
    database = copied(traced, tmp_path, "flipped")
    connection = apsw.Connection(str(database))
    for term in terms:
        for number, (trace_id, index) in enumerate(traces):
            flip(connection, term=term, number=number)
            report = await verified(database)
            assert (report.ok, report.bad_index) == (False, index), f"{term} {number}: {report.problem}"
            assert f"trace {trace_id} is " in report.problem
            assert f"found by {term[0]} {term[1]!r}" in report.problem
            flip(connection, term=term, number=number)
    connection.close()
    assert (await verified(database)).ok


@pytest.mark.asyncio
@pytest.mark.parametrize("table", ROWS)
async def test_a_row_that_is_missing_is_found(table: str, traced: Path, tmp_path: Path) -> None:
    column, narrow = ROWS[table]
    connection = apsw.Connection(str(traced))
    keys = connection.execute(f"SELECT {column} FROM {table} {narrow}").fetchall()
    connection.close()
    assert len(keys) > 20
    for (key,) in keys:
        database = copied(traced, tmp_path, str(key))
        connection = apsw.Connection(str(database))
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (key,))
        connection.close()
        report = await verified(database)
        assert not report.ok, f"{table} {key}"
        assert report.bad_index is not None
        assert f"event {report.bad_index}: its " in report.problem
        assert re.search(r"trace 0[0-9a-f]{31}", report.problem)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", SUPERFLUOUS)
async def test_a_row_that_is_superfluous_is_found(kind: str, traced: Path, tmp_path: Path) -> None:
    change, named = SUPERFLUOUS[kind]
    database = copied(traced, tmp_path, "more")
    connection = apsw.Connection(str(database))
    connection.execute(change)
    connection.close()
    report = await verified(database)
    assert (report.ok, named in report.problem) == (False, True), report.problem


@pytest.mark.asyncio
async def test_a_list_that_fills_its_blocks_verifies_and_each_block_is_checked(tmp_path: Path) -> None:
    make, database = Records(), tmp_path / "audit.db"
    log = open_log(database, LogOptions(minimum_free_bytes=0))
    await log.append_many([make.record() for _ in range(BLOCK_TRACES)])
    assert (await log.verify()).ok
    await log.append_many([make.record() for _ in range(3)])
    assert (await log.verify()).ok
    await log.close()
    connection = apsw.Connection(str(database))
    connection.execute("UPDATE trace_posting SET bits = x'05' WHERE block = 1")
    connection.close()
    report = await verified(database)
    assert (report.ok, report.bad_index) == (False, 6 * (BLOCK_TRACES + 1) + 5), report.problem


@pytest.mark.asyncio
async def test_what_is_listed_verifies_while_it_grows(tmp_path: Path) -> None:
    make = Records()
    log = open_log(tmp_path / "audit.db", LogOptions(minimum_free_bytes=0))
    outcomes = itertools.cycle(Outcome)

    async def grow() -> None:
        for _ in range(100):
            await log.append_many(
                [make.record(trace_id=f"{number:032x}", outcome=next(outcomes)) for number in range(7)]
            )

    growing = asyncio.create_task(grow())
    checks = 0
    while not growing.done():
        report = await log.verify()
        assert report.ok, report.problem
        checks += 1
    await growing
    assert checks > 1
    await log.close()


@pytest.mark.asyncio
async def test_what_cannot_be_read_of_the_list_is_a_finding(traced: Path, tmp_path: Path) -> None:
    database = copied(traced, tmp_path, "unreadable")
    connection = apsw.Connection(str(database))
    connection.execute("UPDATE trace SET intent = CAST(x'ff' AS TEXT) WHERE number = 3")
    connection.close()
    report = await verified(database)
    assert (report.ok, "cannot be read" in report.problem) == (False, True), report.problem


@pytest.mark.asyncio
async def test_a_decision_that_does_not_say_what_its_trace_is_listed_with_is_a_finding(tmp_path: Path) -> None:
    make = Records()
    plain, planless = make.record(), make.record()
    log = open_log(tmp_path / "audit.db", LogOptions(minimum_free_bytes=0))
    await log.append_many([plain, dataclasses.replace(planless, events=planless.events[1:])])
    report = await log.verify()
    await log.close()
    assert (report.ok, report.bad_index) == (False, 10), report.problem
    assert planless.decision.trace_id in report.problem
