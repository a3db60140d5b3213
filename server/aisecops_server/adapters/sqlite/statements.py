"""Many rows in one call.

While SQLite runs a statement other threads run Python, and getting the interpreter back costs up to its switch
interval each time. A group of commits written row by row would pay that per row, so rows travel together:
padded to a power of two, so that few statements exist and each stays prepared.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, cast, runtime_checkable

import apsw

_MOST_ROWS = 64

Value = int | float | str | bytes | None
# A row as SQLite gives it; the schema's STRICT tables hold the types.
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A query that is going to be asked: with its bindings, or with ``keys`` where it ends in ``IN``."""

    query: str
    bindings: Row = ()
    keys: tuple[Row, ...] = ()


@runtime_checkable
class Bulk(Protocol):
    """A connection that takes many rows in a way of its own, and writes when something is asked or committed."""

    def write(self, sql: str, bindings: Row) -> None:
        """Run a statement that has no answer."""
        ...

    def insert_rows(self, head: str, rows: Sequence[Row], tail: str) -> None:
        """Run ``head`` for all ``rows``."""
        ...

    def select_rows(self, query: str, keys: Sequence[Row]) -> Iterable[Row]:
        """Yield what ``query``, which ends in ``IN``, finds for any of ``keys``."""
        ...


def as_bulk(connection: apsw.Connection) -> Bulk | None:
    """Return the connection where it takes many rows in a way of its own."""
    # To ask whether it is one, method by method, takes longer than a statement.
    return cast("Bulk", connection) if hasattr(connection, "insert_rows") else None


def insert(connection: apsw.Connection, head: str, rows: Sequence[Row], tail: str = "") -> None:
    """Run ``head`` (``INSERT INTO table``) for all ``rows``; their first column is never NULL."""
    if bulk := as_bulk(connection):
        bulk.insert_rows(head, rows, tail)
        return
    for at in range(0, len(rows), _MOST_ROWS):
        part = rows[at : at + _MOST_ROWS]
        connection.execute(_insert(head, tail, len(part[0]), _padded(len(part))), _bindings(part))


def write(connection: apsw.Connection, sql: str, bindings: Row) -> None:
    """Run a statement that has no answer."""
    if bulk := as_bulk(connection):
        bulk.write(sql, bindings)
    else:
        connection.execute(sql, bindings)


def select_in(connection: apsw.Connection, query: str, keys: Sequence[Row]) -> Iterable[Row]:
    """Yield what ``query``, which ends in ``IN``, finds for any of ``keys``."""
    if bulk := as_bulk(connection):
        yield from bulk.select_rows(query, keys)
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
