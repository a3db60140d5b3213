"""The bits of the trace index against a plain model, over more than one block and any order of decisions."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.database import migrate, open_for_writing
from aisecops_server.adapters.sqlite.schema import APPLICATION_ID, BLOCK_TRACES, MIGRATIONS
from aisecops_server.adapters.sqlite.trace_facets import trace_facets
from aisecops_server.adapters.sqlite.trace_index import TraceIndex, bits_of, stored_bits
from aisecops_server.adapters.sqlite.trace_list import trace_page
from aisecops_server.adapters.sqlite.trace_terms import MOST_NAMES
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.log.record import DecisionRecord, TraceFilter, TraceSummary
from aisecops_server.domain.traces.trace_facets import MOST_COUNTED, fits
from aisecops_server.domain.traces.trace_query import read_query
from aisecops_server.domain.traces.trace_summary import joined, opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scenes.log.records import Records


@given(st.integers(0, 2**BLOCK_TRACES - 1))
def test_bits_survive_storage(bits: int) -> None:
    assert bits_of(stored_bits(bits)) == bits
    assert len(stored_bits(bits)) <= BLOCK_TRACES // 8


Shape = tuple[int, Outcome, str, tuple[str, ...]]
SHAPES: st.SearchStrategy[Shape] = st.tuples(
    st.integers(0, 12),
    st.sampled_from(Outcome),
    st.sampled_from(["trusted", "internal", "unverified"]),
    st.lists(st.sampled_from(["r.a", "r.b", "r.c"]), max_size=2).map(tuple),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(SHAPES, min_size=1, max_size=8), max_size=8))
def test_decisions_in_any_order_and_grouping_are_found_by_what_they_add_up_to(groups: list[list[Shape]]) -> None:
    make = Records()
    with tempfile.TemporaryDirectory() as folder:
        connection = open_for_writing(Path(folder) / "audit.db")
        migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
        index, model = TraceIndex(connection), dict[str, TraceSummary]()
        for group in groups:
            records = [_shaped(make, shape) for shape in group]
            index.add(records)
            for record in records:
                known = model.get(record.decision.trace_id)
                model[record.decision.trace_id] = joined(known, opened(record)) if known else opened(record)
        newest_first = list(reversed(model.values()))
        for narrow in (TraceFilter(), TraceFilter(outcome="DENY"), TraceFilter(rule="r.a", trust="unverified")):
            page = trace_page(connection, narrow, page_size=100, page_token="")
            assert list(page.traces) == [summary for summary in newest_first if _matches(narrow, summary)]
        connection.close()


def test_a_page_crosses_blocks_and_older_blocks_change(tmp_path: Path) -> None:
    make = Records()
    connection = open_for_writing(tmp_path / "audit.db")
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    index = TraceIndex(connection, blocks_in_memory=1)
    total = 2 * BLOCK_TRACES + 40
    records = [make.record(rules=("rare.rule",) if number % 700 == 3 else ()) for number in range(total)]
    for at in range(0, total, 300):
        index.add(records[at : at + 300])
    # One group that touches every block, back and forth.
    late = [records[number] for number in (5, total - 1, BLOCK_TRACES + 5, 6, total - 2)]
    index.add([make.record(trace_id=record.decision.trace_id, rules=("late.rule",)) for record in late])
    found = trace_page(connection, TraceFilter(rule="late.rule"), page_size=10, page_token="")
    expected = [total - 1, total - 2, BLOCK_TRACES + 5, 6, 5]
    assert [trace.trace_id for trace in found.traces] == [records[number].decision.trace_id for number in expected]
    rare, token, pages = [], "", 0
    while True:
        page = trace_page(connection, TraceFilter(rule="rare.rule"), page_size=1, page_token=token)
        rare += [trace.trace_id for trace in page.traces]
        token, pages = page.next_token, pages + 1
        if not token:
            break
    assert rare == [records[number].decision.trace_id for number in (1403, 703, 3)]
    assert pages == 3
    connection.close()


def test_no_statement_of_a_list_scans_a_table(tmp_path: Path) -> None:
    make = Records()
    connection = open_for_writing(tmp_path / "audit.db")
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    records = [make.record(agent=f"agent-{number}", tools=(f"t/{number}",), rules=("r.a",)) for number in range(700)]
    TraceIndex(connection).add(records)
    said: list[str] = []
    for query in (
        "agent:agent-1* plans:<5 lasted:<1h trust:<external",
        "agent:agent-* tool:t/2* -rule:b* trust:<=internal plans:>0",
        "-agent:agent-* from:2026-01-01",
        "tool:* agent:\U0010ffff*",
        "steps:>0 cost:<5 budget:<=80% -tokens:>1m",
        "effect:changing lasted:>1m -steps:>9",
    ):
        asked: list[str] = []
        connection.exec_trace = lambda _, statement, __, asked=asked: asked.append(statement) or True
        trace_page(connection, read_query(query).narrow, page_size=10, page_token="")
        connection.exec_trace = None
        assert asked
        for statement in asked:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", (0,) * statement.count("?"))
            said += [line for *_, line in plan]
    # The head is one row, and a list of numbers is what was asked for.
    assert {line for line in said if line.startswith("SCAN")} <= {
        "SCAN log_head",
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
    }
    assert any("term USING COVERING INDEX" in line and "(kind=? AND value>? AND value<?)" in line for line in said)
    assert any("SEARCH trace USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in line for line in said)
    assert any("SEARCH trace_figure USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in line for line in said)
    connection.close()


def test_blocks_that_are_looked_up_together_give_what_a_scan_finds(tmp_path: Path) -> None:
    make = Records()
    connection = open_for_writing(tmp_path / "audit.db")
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    index, model = TraceIndex(connection), dict[str, TraceSummary]()
    total = 7 * BLOCK_TRACES + 5
    # Rare rules stand in the blocks 0, 2, 3 and 6 alone; every trace has a tool of its own, and some go on.
    rare = {BLOCK_TRACES * block + 9 for block in (0, 2, 3, 6)}
    records = [
        make.record(
            agent=f"agent-{number % 150}",
            tools=(f"t/{number:05d}",),
            rules=("rare.rule",) if number in rare else ("r.a",) * (number % 3 == 0),
            trust=("trusted", "external", "unverified")[number % 3],
        )
        for number in range(total)
    ]
    records += [make.record(trace_id=records[number].decision.trace_id) for number in (5, 9, 9, 6 * BLOCK_TRACES + 9)]
    with connection:
        for at in range(0, len(records), 512):
            index.add(records[at : at + 512])
    for record in records:
        known = model.get(record.decision.trace_id)
        model[record.decision.trace_id] = joined(known, opened(record)) if known else opened(record)
    newest_first = list(reversed(model.values()))
    for query in (
        "plans:>1",
        "rule:rare.rule plans:<=1",
        "rule:rare.* -agent:agent-1*",
        "plans:>=3",
        "agent:agent-1* tool:t/02* trust:<internal",
        "tool:t/0* plans:>1",
        "-tool:t/0* -rule:r.a",
        "agent:agent-* -rule:* lasted:<1s trust:trusted",
    ):
        narrow = read_query(query).narrow
        late, early = newest_first[2500].started_at_ns, newest_first[4000].started_at_ns
        for one in (narrow, replace(narrow, from_ns=early), replace(narrow, from_ns=early, to_ns=late)):
            expected = [summary for summary in newest_first if fits(summary, one)]
            first = trace_page(connection, one, page_size=30, page_token="")
            found = list(first.traces)
            if first.next_token:
                found += trace_page(connection, one, page_size=1000, page_token=first.next_token).traces
            assert found == expected[: len(found)], one
            assert len(found) == min(len(expected), 1030)
    connection.close()


def test_counting_ends_with_the_newest_that_match(tmp_path: Path) -> None:
    make = Records()
    connection = open_for_writing(tmp_path / "audit.db")
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    index = TraceIndex(connection)
    total = MOST_COUNTED + BLOCK_TRACES
    rules = [("r.a",) if number % 100 == 3 else () for number in range(total)]
    with connection:
        for at in range(0, total, 512):
            index.add([make.record(tools=(f"t/{n // 1000}",), rules=rules[n]) for n in range(at, min(at + 512, total))])
    found = trace_facets(connection, TraceFilter(), ("tool", "rule"))
    newest = range(total - MOST_COUNTED, total)
    assert (found.counted, found.is_whole) == (MOST_COUNTED, False)
    tools, ruled = ({one.value: one.count for one in facet.values} for facet in found.facets)
    assert tools == Counter(f"t/{number // 1000}" for number in newest)
    assert ruled == {"r.a": sum(bool(rules[number]) for number in newest)}
    assert [facet.is_whole for facet in found.facets] == [False, False]
    # What is asked for is counted as if it were not, and what it leaves is counted whole.
    few = trace_facets(connection, TraceFilter(rule="r.a"), ("tool", "rule"))
    assert (few.counted, few.is_whole, [facet.is_whole for facet in few.facets]) == (61, True, [True, False])
    # A last block that holds just as many as are left is all there is, where none stands before it.
    exact = trace_facets(connection, TraceFilter(without=tuple(("tool", f"t/{at}") for at in (0, 6))), ())
    assert (exact.counted, exact.is_whole) == (MOST_COUNTED, True)
    connection.close()


def test_a_beginning_that_stands_for_too_many_names_is_refused(tmp_path: Path) -> None:
    connection = open_for_writing(tmp_path / "audit.db")
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    names = [("tool", f"t/{number}") for number in range(MOST_NAMES)]
    with connection:
        connection.executemany("INSERT INTO term (kind, value) VALUES (?, ?)", names)
    assert trace_page(connection, read_query("tool:t/*").narrow, page_size=1, page_token="").traces == ()
    connection.execute("INSERT INTO term (kind, value) VALUES ('tool', 't/')")
    for query in ("tool:t/*", "-tool:t/*"):
        with pytest.raises(InvalidRequestError, match=r"'tool:t/\*' stands for more than 10,000 names"):
            trace_page(connection, read_query(query).narrow, page_size=1, page_token="")
    connection.close()


def _shaped(make: Records, shape: Shape) -> DecisionRecord:
    trace, outcome, trust, rules = shape
    return make.record(trace_id=f"{trace:032x}", outcome=outcome, trust=trust, rules=rules)


def _matches(narrow: TraceFilter, summary: TraceSummary) -> bool:
    return (
        narrow.outcome in ("", summary.outcome)
        and narrow.trust in ("", summary.lowest_trust)
        and (not narrow.rule or narrow.rule in summary.rules)
    )
