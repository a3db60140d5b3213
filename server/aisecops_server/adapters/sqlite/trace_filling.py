"""Figures of traces that a program of before wrote, filled from their events when a log is opened to be appended to.

Block by block, each in a transaction of whoever calls, so that an opening that was cut off goes on where it was. What
the events do not say stays without figures, which a verification tells.
"""

from __future__ import annotations

import apsw

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES
from aisecops_server.adapters.sqlite.trace_index import LISTED, TraceIndex
from aisecops_server.adapters.sqlite.trace_proofs import proven_traces

DONE = -1
_UNFILLED = f"SELECT t.number FROM {LISTED} WHERE f.number IS NULL AND t.number >= ? AND t.number < ?"  # noqa: S608 - constant parts
_FIRST = f"SELECT min(t.number) FROM {LISTED} WHERE f.number IS NULL AND t.number >= ?"  # noqa: S608 - constant parts


def filled_from(connection: apsw.Connection, first: int) -> int:
    """Fill the figures of the next block of traces from number ``first`` on that lack them.

    Return from where to go on, or ``DONE``.
    """
    found = connection.execute(_FIRST, (first,)).get
    if found is None:
        return DONE
    begin, end = int(found), int(found) + BLOCK_TRACES
    numbers = [number for (number,) in connection.execute(_UNFILLED, (begin, end))]
    try:
        proven = proven_traces(connection, begin, end)
    except Fault:
        return end
    summaries = [(number, proven[number].summary) for number in numbers if number in proven]
    TraceIndex(connection).store_figures(summaries)
    return end
