"""Does the list of traces say what the decisions say? Every row and every bit from the events that prove it.

Relies on events and decisions that were verified before. Goes block by block, each block on one snapshot of its
own, so that memory stays bounded, a running writer is never held back, and rows and bits are of the same moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import apsw

from aisecops_server.adapters.sqlite.agent_activity import Told
from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.adapters.sqlite.trace_index import (
    FIGURE_COLUMNS,
    SUMMARY_COLUMNS,
    Term,
    bits_of,
    figure_row,
    summary_row,
    values_of,
)
from aisecops_server.adapters.sqlite.trace_proofs import Proven, proven_traces

_ROWS = f"SELECT number, {SUMMARY_COLUMNS} FROM trace WHERE number >= ? AND number < ? ORDER BY number"  # noqa: S608 - constant columns
_FIGURES = f"SELECT number, decisions, {FIGURE_COLUMNS} FROM trace_figure WHERE number >= ? AND number < ?"  # noqa: S608 - constant columns

_POSTINGS = """
    SELECT t.kind, t.value, p.bits FROM trace_posting AS p JOIN term AS t ON t.id = p.term WHERE p.block = ?"""

# What must find nothing behind the last trace, and what it says when it does.
_STRAYS = (
    (
        "trace {!r} is listed, but no decision of it is in the log",
        "SELECT trace_id FROM trace WHERE number < 0 OR number >= :traces LIMIT 1",
    ),
    (
        "number {} of the list of traces has figures, but no trace",
        "SELECT number FROM trace_figure WHERE number < 0 OR number >= :traces LIMIT 1",
    ),
    (
        "block {} of the list of traces has times, but no traces",
        "SELECT number FROM trace_block WHERE number < 0 OR number >= :blocks LIMIT 1",
    ),
    (
        "block {} of the list of traces can be searched, but has no traces",
        "SELECT block FROM trace_posting WHERE block < 0 OR block >= :blocks LIMIT 1",
    ),
    (
        "traces can be searched for term number {}, which is not there",
        "SELECT term FROM trace_posting WHERE term NOT IN (SELECT id FROM term) LIMIT 1",
    ),
    (
        "traces can be searched for {!r}, which none ever had",
        "SELECT kind || ' ' || value FROM term WHERE id NOT IN (SELECT term FROM trace_posting) LIMIT 1",
    ),
)


def check_traces(connection: apsw.Connection, *, first: int, end: int | None, told: Told) -> None:
    """Compare the list of traces with the decisions in the log, from trace number ``first``, where a block begins.

    Up to ``end``, or without one up to the last trace and what may stand behind it. ``told`` hears every decision.

    Raises:
        Fault: the first thing that does not agree.
    """
    opening = _opening_before(connection, first)
    while end is None or first < end:
        with connection:
            try:
                count, opening = _check_block(connection, first, opening, told)
            except (UnicodeDecodeError, TypeError) as error:
                what = f"what is listed of traces number {first} to {first + BLOCK_TRACES - 1} cannot be read"
                raise Fault(None, what) from error
            if count < BLOCK_TRACES:
                _check_strays(connection, first + count)
                return
        first += BLOCK_TRACES


def _opening_before(connection: apsw.Connection, first: int) -> int:
    """Return where in the log the trace before ``first`` begins, which is checked elsewhere."""
    opening = connection.execute("SELECT min(outcome_idx) FROM decision WHERE trace = ?", (first - 1,)).get
    return -1 if opening is None else int(opening)


def _check_block(connection: apsw.Connection, first: int, opening: int, told: Told) -> tuple[int, int]:
    """Return how many traces there are from ``first`` on, and where the newest of them begins in the log."""
    span = (first, first + BLOCK_TRACES)
    rows: list[Row] = connection.execute(_ROWS, span).fetchall()
    traces = proven_traces(connection, first, first + BLOCK_TRACES, told)
    for number, row in enumerate(rows, first):
        trace = traces.get(row[0])
        if trace is None:
            raise Fault(None, f"trace {row[1]!r} is listed, but no decision of it is in the log")
        _check_row(row, trace)
        if row[0] != number or trace.opening <= opening:
            raise _fault(trace, "is not listed in the order in which traces began")
        opening = trace.opening
    if len(traces) != len(rows):
        raise _fault(next(trace for number, trace in traces.items() if number >= first + len(rows)), "is not listed")
    if rows:
        _check_figures(connection, span, traces)
        _check_times(connection, rows, traces[first])
        _check_postings(connection, first, traces)
    return len(rows), opening


def _check_row(row: Row, trace: Proven) -> None:
    # An event proves its time to the microsecond.
    listed = (*row[1:-3], row[-3] // 1000 * 1000, row[-2] // 1000 * 1000, row[-1])
    said = summary_row(trace.summary)
    if listed != said:
        columns = zip(SUMMARY_COLUMNS.split(", "), listed, said, strict=True)
        altered = ", ".join(name for name, one, other in columns if one != other)
        raise _fault(trace, f"is listed with another {altered} than its decisions say")


def _check_figures(connection: apsw.Connection, span: tuple[int, int], traces: Mapping[int, Proven]) -> None:
    rows: dict[int, Row] = {row[0]: row[1:] for row in connection.execute(_FIGURES, span)}
    for number, trace in traces.items():
        listed, said = rows.get(number), figure_row(trace.summary)
        if listed is None or listed[0] < trace.summary.decisions:
            raise _fault(trace, "is listed without the figures of all its decisions")
        if listed != said:
            columns = zip(("decisions", *FIGURE_COLUMNS.split(", ")), listed, said, strict=True)
            altered = ", ".join(name for name, one, other in columns if one != other)
            raise _fault(trace, f"is listed with another {altered} than its decisions say")


def _check_times(connection: apsw.Connection, rows: Sequence[Row], trace: Proven) -> None:
    block, starts = rows[0][0] // BLOCK_TRACES, [row[-3] for row in rows]
    stored = connection.execute("SELECT earliest, latest FROM trace_block WHERE number = ?", (block,)).get
    if stored != (min(starts), max(starts)):
        raise _fault(trace, f"begins block {block} of the list, whose times are not those of its traces")


def _check_postings(connection: apsw.Connection, first: int, traces: Mapping[int, Proven]) -> None:
    said: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for number, trace in traces.items():
        bit = 1 << number - first
        for kind, values in values_of(trace.summary):
            of_kind = said[kind]
            for value in values:
                of_kind[value] |= bit
    # A term that its last trace lost stays, without a bit.
    for kind, value, bits in connection.execute(_POSTINGS, (first // BLOCK_TRACES,)):
        _check_bits((kind, value), bits_of(bits), said[kind].pop(value, 0), first=first, traces=traces)
    for kind, missing in said.items():
        for value, wanted in missing.items():
            _check_bits((kind, value), 0, wanted, first=first, traces=traces)


def _check_bits(term: Term, listed: int, said: int, *, first: int, traces: Mapping[int, Proven]) -> None:
    wrong = listed ^ said
    if not wrong:
        return
    at = (wrong & -wrong).bit_length() - 1
    trace, what = traces.get(first + at), f"{term[0]} {term[1]!r}"
    if trace is None:
        raise Fault(None, f"a trace number {first + at}, which is not there, is found by {what}")
    found = "is not found by" if said >> at & 1 else "is found by"
    raise _fault(trace, f"{found} {what}, against what its decisions say")


def _check_strays(connection: apsw.Connection, traces: int) -> None:
    known = {"traces": traces, "blocks": -(-traces // BLOCK_TRACES)}
    for problem, query in _STRAYS:
        if (what := connection.execute(query, known).get) is not None:
            raise Fault(None, problem.format(what))


def _fault(trace: Proven, problem: str) -> Fault:
    return Fault(trace.latest, f"event {trace.latest}: its trace {trace.summary.trace_id} {problem}")
