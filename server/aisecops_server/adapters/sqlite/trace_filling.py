"""Figures of traces that a program of before wrote, filled from their events when a log is opened to be appended to.

Block by block: what the events say is read first, and written in a transaction of whoever calls, if it is still all
that the trace has. An opening that was cut off goes on where it was. What the events do not say stays without figures,
which a verification tells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import apsw

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.trace_index import LISTED, TraceIndex
from aisecops_server.adapters.sqlite.trace_proofs import proven_traces
from aisecops_server.domain.log.record import TraceSummary

_logger = logging.getLogger(__name__)

# What is held in memory and written at once, in decisions; a trace is never cut.
_BLOCK_DECISIONS = 2_000
_UNFILLED = (
    f"SELECT t.number, t.decisions FROM {LISTED}"  # noqa: S608 - constant parts
    " WHERE f.number IS NULL AND t.number >= ? AND t.number < ? ORDER BY t.number LIMIT ?"
)
_ALL = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class _Block:
    """Traces from number ``first`` up to ``end`` that lack figures, and what their events say of them."""

    first: int
    end: int
    summaries: dict[int, TraceSummary]


def fill(
    connection: apsw.Connection,
    alone: Callable[[], AbstractContextManager[Any]],
    *,
    most_decisions: int = _BLOCK_DECISIONS,
) -> None:
    """Fill the figures of all traces that lack them.

    ``alone`` gives a transaction in which nobody else appends, one for each block of ``most_decisions`` at most.
    """
    filled = 0
    for block in _blocks(connection, most_decisions):
        if not filled:
            _logger.info("filling the list of traces with what a version before did not write")
        with alone():
            lacking = _lacking(connection, block.first, block.end, _ALL)
            unchanged = {number for number, count in lacking if _counts(block, number) == count}
            TraceIndex(connection).store_figures([(number, block.summaries[number]) for number in sorted(unchanged)])
        filled += len(unchanged)
    if filled:
        _logger.info("the list of traces was filled: %d traces", filled)


def _lacking(connection: apsw.Connection, first: int, end: int, most: int) -> list[tuple[int, int]]:
    rows = connection.execute(_UNFILLED, (first, end, most)).fetchall()
    return cast("list[tuple[int, int]]", rows)


def _counts(block: _Block, number: int) -> int:
    return block.summaries[number].decisions if number in block.summaries else -1


def _blocks(connection: apsw.Connection, most_decisions: int) -> Iterator[_Block]:
    following = 0
    while numbers := _next(connection, following, most_decisions):
        first, following = numbers[0], numbers[-1] + 1
        try:
            proven = proven_traces(connection, first, following)
        except Fault:
            continue
        yield _Block(first, following, {number: proven[number].summary for number in numbers if number in proven})


def _next(connection: apsw.Connection, first: int, most_decisions: int) -> list[int]:
    numbers: list[int] = []
    decisions = 0
    for number, count in _lacking(connection, first, _ALL, most_decisions):
        decisions += count
        if numbers and decisions > most_decisions:
            break
        numbers.append(number)
    return numbers
