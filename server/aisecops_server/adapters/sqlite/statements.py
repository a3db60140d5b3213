"""Many rows in one call.

While SQLite runs a statement other threads run Python, and getting the interpreter back costs up to its switch
interval each time. A group of commits written row by row would pay that per row, so rows travel together:
padded to a power of two, so that few statements exist and each stays prepared.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Protocol, runtime_checkable

import apsw

_MOST_ROWS = 64

Value = int | float | str | bytes | None
# A row as SQLite gives it; the schema's STRICT tables hold the types.
Row = tuple[Any, ...]


@runtime_checkable
class Bulk(Protocol):
    """A connection that takes many rows in a way of its own."""

    def insert_rows(self, head: str, rows: Sequence[Row], tail: str) -> None:
        """Run ``head`` for all ``rows``."""
        ...

    def select_rows(self, query: str, keys: Sequence[Row]) -> Iterable[Row]:
        """Yield what ``query``, which ends in ``IN``, finds for any of ``keys``."""
        ...


def insert(connection: apsw.Connection, head: str, rows: Sequence[Row], tail: str = "") -> None:
    """Run ``head`` (``INSERT INTO table``) for all ``rows``; their first column is never NULL."""
    if isinstance(connection, Bulk):
        connection.insert_rows(head, rows, tail)
        return
    for at in range(0, len(rows), _MOST_ROWS):
        part = rows[at : at + _MOST_ROWS]
        connection.execute(_insert(head, tail, len(part[0]), _padded(len(part))), _bindings(part))


def select_in(connection: apsw.Connection, query: str, keys: Sequence[Row]) -> Iterable[Row]:
    """Yield what ``query``, which ends in ``IN``, finds for any of ``keys``."""
    if isinstance(connection, Bulk):
        yield from connection.select_rows(query, keys)
        return
    for at in range(0, len(keys), _MOST_ROWS):
        part = keys[at : at + _MOST_ROWS]
        yield from connection.execute(_select(query, len(part[0]), _padded(len(part))), _bindings(part))


@functools.cache
def _insert(head: str, tail: str, columns: int, rows: int) -> str:
    return f"{head} SELECT * FROM ({_values(columns, rows)}) WHERE column1 IS NOT NULL {tail}"  # noqa: S608 - constant parts


@functools.cache
def _select(query: str, columns: int, rows: int) -> str:
    return f"{query} ({_values(columns, rows)})"


def _values(columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"VALUES {','.join([row] * rows)}"


def _padded(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _bindings(rows: Sequence[Row]) -> list[Value]:
    padding = (_padded(len(rows)) - len(rows)) * len(rows[0])
    return [*chain.from_iterable(rows), *[None] * padding]
