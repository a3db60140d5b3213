"""Counts of traces by value, from the bits of the trace index.

Block by block, from the newest on: where many traces of a block match, the bits of its terms are counted; where few
do, their rows are read. Counting ends when enough traces were counted, so what it costs has a bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import apsw
import orjson

from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES
from aisecops_server.adapters.sqlite.statements import Row, select_in
from aisecops_server.adapters.sqlite.trace_index import SUMMARIES, bits_of, summary_of
from aisecops_server.adapters.sqlite.trace_list import matching_blocks
from aisecops_server.adapters.sqlite.trace_terms import KINDS, wanted_of
from aisecops_server.domain.log.record import TraceFilter
from aisecops_server.domain.traces.trace_facets import MOST_COUNTED, Counted, TraceFacets, facets_of, held, questions

# To read the rows of so many traces takes as long as to count the bits of all terms of a block.
_FEW = 64
# What counting may cost, in terms of a block that are looked up: the half for the filter itself, the other half for
# the fields that it asks for. A row costs as much as some terms.
_WORK = 60_000
_ROW = 12
_ROWS_AT_ONCE = 500


def trace_facets(connection: apsw.Connection, narrow: TraceFilter, fields: Sequence[str]) -> TraceFacets:
    """Return how many traces match a filter and, of each of ``fields``, how many have each value.

    Raises:
        InvalidRequestError: the beginning of a name stands for too many names.
    """
    asked = questions(narrow, fields)
    shares = (_WORK // 2, *(_WORK // 2 // max(1, len(asked) - 1) for _ in asked[1:]))
    counted = [_Count(connection, of, work).run(one) for (one, of), work in zip(asked, shares, strict=True)]
    return facets_of(counted, fields)


class _Count:
    """Counts the traces of one filter, and the values of some fields, until it is done or ``work`` is used up."""

    def __init__(self, connection: apsw.Connection, fields: Sequence[str], work: int) -> None:
        self._connection = connection
        self._values: dict[str, Counter[str]] = {name: Counter() for name in fields}
        self._terms: Counter[int] = Counter()
        self._rows: list[int] = []
        self._work = work
        self._traces = 0

    def run(self, narrow: TraceFilter) -> Counted:
        """Count from the newest trace on."""
        wanted = wanted_of(self._connection, narrow)
        is_whole = True
        for block, bits in matching_blocks(self._connection, wanted, narrow) if wanted else ():
            kept = _newest(bits, MOST_COUNTED - self._traces)
            self._traces += kept.bit_count()
            if kept and self._values:
                self._count(block, kept)
            self._work -= wanted.cost if wanted else 0
            if kept != bits or self._work < 0:
                is_whole = block == 0 and kept == bits
                break
        self._count_rows()
        self._name_terms()
        return Counted(self._traces, is_whole, self._values)

    def _count(self, block: int, bits: int) -> None:
        if bits.bit_count() > _FEW:
            query = "SELECT term, bits FROM trace_posting WHERE block = ?"
            rows: list[Row] = self._connection.execute(query, (block,)).fetchall()
            self._work -= len(rows)
            self._terms.update({term: (bits_of(posting) & bits).bit_count() for term, posting in rows})
            return
        numbers = [block * BLOCK_TRACES + at for at in range(BLOCK_TRACES) if bits >> at & 1]
        self._work -= _ROW * len(numbers)
        self._rows += numbers
        if len(self._rows) > _ROWS_AT_ONCE:
            self._count_rows()

    def _count_rows(self) -> None:
        query = f"{SUMMARIES} t.number IN (SELECT value FROM json_each(?))"  # noqa: S608 - constant parts
        rows = self._connection.execute(query, (orjson.dumps(self._rows).decode(),))
        self._rows = []
        for row in rows:
            has = held(summary_of(row[1:]))
            for name, counter in self._values.items():
                counter.update(has[name])

    def _name_terms(self) -> None:
        counters = {KINDS[name]: counter for name, counter in self._values.items()}
        keys = [(term,) for term, number in self._terms.items() if number]
        for term, kind, value in select_in(self._connection, "SELECT id, kind, value FROM term WHERE id IN", keys):
            if kind in counters:
                counters[kind][value] += self._terms[term]


def _newest(bits: int, most: int) -> int:
    """Return the ``most`` highest of ``bits``."""
    for _ in range(bits.bit_count() - most):
        bits &= bits - 1
    return bits
