"""Pages of traces, newest first, for any combination of filters.

Filters are answered block by block from the newest on: the bit strings of all wanted terms are ANDed, those of the
unwanted taken away, and reading stops when the page is full. What nothing matches costs one look per block; only a
number is looked at trace by trace, and only where the terms leave any.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

import apsw
import orjson

from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES
from aisecops_server.adapters.sqlite.trace_index import SUMMARIES, bits_of, summary_of
from aisecops_server.adapters.sqlite.trace_terms import (
    ALL,
    FOREVER,
    Wanted,
    few_with,
    narrow_by_numbers,
    narrow_by_terms,
    wanted_of,
)
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.log.record import TraceFilter, TracePage

MOST_TRACES = 1000

_MOST_BLOCKS = 16
R = TypeVar("R")
_TOKEN = struct.Struct(">Q16s")


def trace_page(connection: apsw.Connection, narrow: TraceFilter, *, page_size: int, page_token: str) -> TracePage:
    """Return a page of the traces that match ``narrow``.

    Raises:
        InvalidRequestError: the page size is below 1, or the token is not one of this list.
    """
    if page_size < 1:
        raise InvalidRequestError("page_size must be at least 1", field="page_size")
    size = min(page_size, MOST_TRACES)
    log_id = connection.execute("SELECT log_id FROM log_head").get
    below = _opened(page_token, narrow, log_id) if page_token else FOREVER
    numbers = _first(_matching(connection, narrow, below), size + 1)
    query = f"{SUMMARIES} t.number IN (SELECT value FROM json_each(?)) ORDER BY t.number DESC"  # noqa: S608 - constant parts
    rows = connection.execute(query, (orjson.dumps(numbers[:size]).decode(),))
    token = _sealed(numbers[size - 1], narrow, log_id) if len(numbers) > size else ""
    return TracePage(tuple(summary_of(row[1:]) for row in rows), token)


def _first(numbers: Iterator[int], count: int) -> list[int]:
    return [number for number, _ in zip(numbers, range(count), strict=False)]


def _matching(connection: apsw.Connection, narrow: TraceFilter, below: int) -> Iterator[int]:
    wanted = wanted_of(connection, narrow)
    if wanted is None:
        return
    for block, bits in matching_blocks(connection, wanted, narrow, below):
        yield from _descending(block, bits)


def matching_blocks(
    connection: apsw.Connection, wanted: Wanted, narrow: TraceFilter, below: int = FOREVER
) -> Iterator[tuple[int, int]]:
    """Yield the blocks in which traces may match, newest first, with the bits of those that do; ``below`` a number."""
    times = narrow.from_ns, (narrow.to_ns or FOREVER + 1) - 1
    # Without a term there may be bits that no trace has yet.
    is_certain = bool(wanted.every or wanted.has_any)
    few = few_with(connection, wanted.numbers)
    if few == {}:
        return
    for group in _groups(_blocks(connection, wanted.every, (below - 1) // BLOCK_TRACES, times)):
        bits = {block: _joined(postings, below - block * BLOCK_TRACES) for block, _, _, *postings in group}
        if few:
            bits = {block: kept & few.get(block, 0) for block, kept in bits.items()}
        for choice in wanted.few:
            narrow_by_terms(connection, bits, choice)
        in_time = all(times[0] <= first and last <= times[1] for _, first, last, *_ in group)
        if wanted.numbers or not (is_certain and in_time):
            narrow_by_numbers(connection, bits, wanted.numbers, times)
        for choice in wanted.many:
            narrow_by_terms(connection, bits, choice)
        yield from bits.items()


def _joined(postings: Sequence[bytes], below: int) -> int:
    """Return which traces of a block have every term, and a number in it below ``below``."""
    bits = ALL if below >= BLOCK_TRACES else (1 << below) - 1
    for posting in postings:
        bits &= bits_of(posting)
    return bits


def _groups(blocks: Iterator[R]) -> Iterator[list[R]]:
    """Yield blocks, ever more of them together: a page is soon full, and what nothing matches is soon read."""
    size = 1
    while group := list(islice(blocks, size)):
        yield group
        size = min(2 * size, _MOST_BLOCKS)


def _blocks(
    connection: apsw.Connection, terms: Sequence[int], newest: int, times: tuple[int, int]
) -> Iterator[tuple[int, int, int, *tuple[bytes, ...]]]:
    """Yield the blocks, newest first, that have every term and some trace in the time range."""
    columns = "".join(f", p{at}.bits" for at in range(len(terms)))
    joins = " ".join(
        f"CROSS JOIN trace_posting AS p{at} ON p{at}.block = b.number AND p{at}.term = ?" for at in range(len(terms))
    )
    query = (
        f"SELECT b.number, b.earliest, b.latest{columns} FROM trace_block AS b {joins}"  # noqa: S608 - constant parts
        " WHERE b.number <= ? AND b.latest >= ? AND b.earliest <= ? ORDER BY b.number DESC"
    )
    return iter(connection.execute(query, (*terms, newest, *times)))


def _descending(block: int, bits: int) -> Iterator[int]:
    while bits:
        top = bits.bit_length() - 1
        bits ^= 1 << top
        yield block * BLOCK_TRACES + top


def _sealed(below: int, narrow: TraceFilter, log_id: bytes) -> str:
    return base64.urlsafe_b64encode(_TOKEN.pack(below, _mark(below, narrow, log_id))).decode().rstrip("=")


def _opened(token: str, narrow: TraceFilter, log_id: bytes) -> int:
    try:
        below, mark = _TOKEN.unpack(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error, struct.error) as error:
        raise _foreign_token() from error
    if mark != _mark(below, narrow, log_id):
        raise _foreign_token()
    return int(below)


def _mark(below: int, narrow: TraceFilter, log_id: bytes) -> bytes:
    # Bound to this log and to the filter, so that a page never continues another list.
    return hashlib.blake2b(f"{below} {narrow!r}".encode(), key=log_id, digest_size=16).digest()


def _foreign_token() -> InvalidRequestError:
    return InvalidRequestError(
        "page_token was not made by this list",
        hint="Pass next_page_token back unchanged, with the same filter, or leave it empty to begin",
        field="page_token",
    )
