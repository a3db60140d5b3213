"""What a filter asks of the trace index: the numbers of terms, and the bits of the traces of a block.

A name's beginning is a range of the index of terms, so that no sign of it can be a pattern. Numbers of traces are no
terms: they are compared row by row, in the blocks where a trace is still wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import apsw
import orjson

from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES
from aisecops_server.adapters.sqlite.statements import Bulk, Row
from aisecops_server.adapters.sqlite.trace_index import Term, bits_of
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.log.record import TraceFilter
from aisecops_server.domain.log.trace_match import (
    BUDGET,
    COST,
    EFFECT,
    LASTED,
    PLANS,
    STEPS,
    TOKENS,
    NumberMatch,
    Relation,
    WordMatch,
    prefix_range,
    words_of,
)

ALL = (1 << BLOCK_TRACES) - 1
# What the terms of each field are called in the index.
KINDS = {
    "agent_id": "agent",
    "outcome": "outcome",
    "tool": "tool",
    "rule": "rule",
    "trust": "trust",
    "revision": "revision",
    "mode": "mode",
    EFFECT: "effect",
}
MOST_NAMES = 10_000
FOREVER = 2**63 - 1
# Whenever a trace began.
ANY_TIME = (0, FOREVER)
# Above it all terms of a block are read, which are never many more.
_SOUGHT = 500
# To look up so many terms of a block takes as long as to compare the numbers of its traces.
_FEW = 100
_OF_BLOCKS = "SELECT block, term, bits FROM trace_posting WHERE block IN (SELECT value FROM json_each(?))"
_OF_TERMS = (
    "SELECT block, bits FROM trace_posting"
    " WHERE block IN (SELECT value FROM json_each(?)) AND term IN (SELECT value FROM json_each(?))"
)
# The sign keeps a server from looking up every pair of a block and a term: the terms of a block are read in a row.
_AMONG_TERMS = (
    "SELECT block, bits FROM trace_posting"
    " WHERE block IN (SELECT value FROM json_each(?)) AND (+term) IN (SELECT CAST(value AS BIGINT) FROM json_each(?))"
)
_MOST_LOOKED_UP = 128
_FROM = "SELECT id FROM term WHERE kind = ? AND value >= ? LIMIT ?"
_BEGINS = "SELECT id FROM term WHERE kind = ? AND value >= ? AND value < ? LIMIT ?"
# The columns of numbers: some stand in the row of the trace, the others in the narrow one of its figures.
_INDEXED = {PLANS: "decisions", LASTED: "last_at - started_at"}
# The sign keeps a planner from the index of a number that most traces may have: rows are compared in their blocks.
_OF_TRACES = {field: f"+({column})" for field, column in _INDEXED.items()}
_OF_FIGURES = {STEPS: "steps", TOKENS: "tokens", COST: "micro_usd", BUDGET: "budget_share"}
_NUMBERS = {**_OF_TRACES, **_OF_FIGURES}
_COMPARED = {
    Relation.EQUAL: "=",
    Relation.LESS: "<",
    Relation.AT_MOST: "<=",
    Relation.MORE: ">",
    Relation.AT_LEAST: ">=",
}


_OPPOSITE = {
    Relation.LESS: Relation.AT_LEAST,
    Relation.AT_MOST: Relation.MORE,
    Relation.MORE: Relation.AT_MOST,
    Relation.AT_LEAST: Relation.LESS,
}
# So many rows are sooner looked up one by one than those of their blocks are compared.
_FEW_TRACES = 512


# Terms of which one is wanted, or none is.
Choice = tuple[tuple[int, ...], bool]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a filter asks for, in terms of the index.

    A trace has every term of ``every``, of each choice at least one or none, and fits ``numbers``. ``few`` are choices
    that are sooner looked up than numbers are compared, ``many`` the others, each from the smallest on.
    """

    every: tuple[int, ...]
    few: tuple[Choice, ...]
    many: tuple[Choice, ...]
    numbers: tuple[NumberMatch, ...]

    @property
    def cost(self) -> int:
        """Return of about how many terms of a block it takes the time to look up what is asked for."""
        looked_up = sum(len(terms) for terms, _ in (*self.few, *self.many))
        return 1 + len(self.every) + looked_up + (_FEW if self.numbers else 0)

    @property
    def has_any(self) -> bool:
        """Return whether a trace must have some term of a choice."""
        return any(is_wanted for _, is_wanted in (*self.few, *self.many))


def wanted_of(connection: apsw.Connection, narrow: TraceFilter) -> Wanted | None:
    """Return what a filter asks for; ``None`` when no trace ever had what it wants.

    Raises:
        InvalidRequestError: the beginning of a name stands for too many names.
    """
    every: list[int] = []
    unwanted = {found for name, value in narrow.without for found in _ids_of(connection, (KINDS[name], value))}
    for match in narrow.words:
        if match.leaves_out:
            unwanted |= {*matching_terms(connection, match)}
    choices: list[Choice] = [(tuple(sorted(unwanted)), False)] if unwanted else []
    for found in _wanted_names(connection, narrow):
        if not found:
            return None
        if len(found) == 1:
            every += found
        else:
            choices.append((found, True))
    choices.sort(key=lambda choice: len(choice[0]))
    few, many = (tuple(one for one in choices if (len(one[0]) > _FEW) == is_many) for is_many in (False, True))
    return Wanted(tuple(every), few, many, narrow.numbers)


def matching_terms(connection: apsw.Connection, match: WordMatch) -> tuple[int, ...]:
    """Return the terms that a match stands for, whether it wants them or not.

    Raises:
        InvalidRequestError: the beginning of a name stands for too many names.
    """
    kind = KINDS[match.field]
    if match.relation is not Relation.BEGINS:
        return tuple(found for word in words_of(match) for found in _ids_of(connection, (kind, word)))
    first, behind = prefix_range(match.word)
    # No text stands behind the last: that of a beginning without an end is all of its kind.
    query, bindings = (_BEGINS, (kind, first, behind)) if behind else (_FROM, (kind, first))
    found = tuple(term for (term,) in connection.execute(query, (*bindings, MOST_NAMES + 1)))
    if len(found) > MOST_NAMES:
        raise InvalidRequestError(
            f"'{kind}:{match.word}*' stands for more than {MOST_NAMES:,} names",
            hint="Write more of the name",
            field=match.field,
        )
    return found


def narrow_by_terms(connection: apsw.Connection, bits: dict[int, int], choice: Choice) -> None:
    """Take away of the ``bits`` of blocks those of the traces that do not fit a choice."""
    terms, is_wanted = choice
    found = dict.fromkeys(bits, 0)
    for part in _parts(connection, [block for block, kept in bits.items() if kept], len(terms)):
        for block, posting in _postings(connection, part, terms):
            found[block] |= bits_of(posting)
            if len(part) == 1 and not bits[block] & ~found[block]:
                break
    for block, there in found.items():
        bits[block] &= there if is_wanted else ~there


def _parts(connection: apsw.Connection, blocks: Sequence[int], terms: int) -> Iterator[Sequence[int]]:
    """Yield which blocks are looked up together: of many terms each alone, to stop early, where no server is asked."""
    if terms > _FEW and not isinstance(connection, Bulk):
        yield from ([block] for block in blocks)
    elif blocks:
        yield blocks


def few_with(connection: apsw.Connection, numbers: Sequence[NumberMatch]) -> dict[int, int] | None:
    """Return the bits, by block, of the traces that have one of ``numbers`` where few do; ``None`` where none is rare.

    One look into an index, where comparing the numbers of every trace finds as little.
    """
    for match in numbers:
        relation = _OPPOSITE.get(match.relation) if match.leaves_out else match.relation
        if relation is None or match.field not in _INDEXED:
            continue
        column = _INDEXED[match.field]
        query = (
            f"SELECT number FROM trace WHERE {column} {_COMPARED[relation]} ? ORDER BY {column} LIMIT {_FEW_TRACES + 1}"  # noqa: S608 - constant parts
        )
        found: list[Row] = connection.execute(query, (match.amount,)).fetchall()
        if len(found) <= _FEW_TRACES:
            return _blocks_of(number for (number,) in found)
    return None


def _blocks_of(numbers: Iterable[int]) -> dict[int, int]:
    bits: dict[int, int] = {}
    for number in numbers:
        block, at = divmod(number, BLOCK_TRACES)
        bits[block] = bits.get(block, 0) | 1 << at
    return bits


def narrow_by_numbers(
    connection: apsw.Connection, bits: dict[int, int], numbers: Sequence[NumberMatch], times: tuple[int, int]
) -> None:
    """Take away of the ``bits`` of blocks those of traces with other numbers, or not begun between ``times``."""
    narrow = [match for match in numbers if match.field in _OF_FIGURES]
    if narrow:
        _narrow(connection, bits, table="trace_figure", numbers=narrow, times=())
    wide = [match for match in numbers if match.field in _OF_TRACES]
    if wide or times != ANY_TIME or not narrow:
        _narrow(connection, bits, table="trace", numbers=wide, times=times)


def _narrow(
    connection: apsw.Connection,
    bits: dict[int, int],
    *,
    table: str,
    numbers: Sequence[NumberMatch],
    times: tuple[int, ...],
) -> None:
    """Take away of the ``bits`` of blocks those of traces whose rows in ``table`` do not have such numbers."""
    in_time = " AND started_at BETWEEN ? AND ?" if times else ""
    rest, values = f"{in_time}{''.join(map(_condition, numbers))}", (*times, *(match.amount for match in numbers))
    found: dict[int, int] = {}
    for rows, bindings in _rows(bits):
        query = f"SELECT number FROM {table} WHERE {rows}{rest}"  # noqa: S608 - constant parts
        for block, there in _blocks_of(number for (number,) in connection.execute(query, (*bindings, *values))).items():
            found[block] = found.get(block, 0) | there
    for block in bits:
        bits[block] &= found.get(block, 0)


def _rows(bits: dict[int, int]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield which rows to compare, as a condition with its values: one by one where few traces are still wanted."""
    if sum(kept.bit_count() for kept in bits.values()) <= _FEW_TRACES:
        numbers = [
            block * BLOCK_TRACES + at for block, kept in bits.items() for at in range(BLOCK_TRACES) if kept >> at & 1
        ]
        if numbers:
            yield "number IN (SELECT value FROM json_each(?))", (orjson.dumps(numbers).decode(),)
        return
    for first, last in _runs(sorted(block for block, kept in bits.items() if kept)):
        yield "number >= ? AND number < ?", (first * BLOCK_TRACES, (last + 1) * BLOCK_TRACES)


def _runs(blocks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each run of blocks that follow each other."""
    first = last = -1
    for block in blocks:
        if block != last + 1 or first < 0:
            if first >= 0:
                yield first, last
            first = block
        last = block
    if first >= 0:
        yield first, last


def _condition(match: NumberMatch) -> str:
    return f" AND {'NOT ' if match.leaves_out else ''}{_NUMBERS[match.field]} {_COMPARED[match.relation]} ?"


def _wanted_names(connection: apsw.Connection, narrow: TraceFilter) -> Iterator[tuple[int, ...]]:
    """Yield, for each thing that is wanted, the terms of which a trace has one; none where none was ever seen."""
    for field, kind in KINDS.items():
        if value := getattr(narrow, field, ""):
            yield _ids_of(connection, (kind, value))
    for match in narrow.words:
        if not match.leaves_out:
            yield matching_terms(connection, match)


def _ids_of(connection: apsw.Connection, term: Term) -> tuple[int, ...]:
    return tuple(found for (found,) in connection.execute("SELECT id FROM term WHERE kind = ? AND value = ?", term))


def _postings(connection: apsw.Connection, blocks: Sequence[int], terms: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield what the index has of some terms in some blocks."""
    listed = orjson.dumps(blocks).decode()
    if isinstance(connection, Bulk) and len(terms) > _MOST_LOOKED_UP:
        yield from connection.execute(_AMONG_TERMS, (listed, orjson.dumps(terms).decode()))
    elif len(terms) > _SOUGHT:
        sought = frozenset(terms)
        rows = connection.execute(_OF_BLOCKS, (listed,))
        yield from ((block, bits) for block, term, bits in rows if term in sought)
    else:
        yield from connection.execute(_OF_TERMS, (listed, orjson.dumps(terms).decode()))
