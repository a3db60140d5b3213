"""Rows of a CSV export as lines of JSON, so that they are read as strictly as a file of lines is.

The first row names the columns as the fields of the records are named; an empty cell says nothing. Cells are taken as
they are: no formula, number or date is seen in them, and nothing is stripped. It is RFC 4180 in UTF-8 with commas; what
spreadsheets make of that otherwise (semicolons, UTF-16) is refused in words. One row is held at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from gzip import GzipFile
from typing import IO

from aisecops_server.adapters.recordings.attributes import MalformedError
from aisecops_server.adapters.recordings.times import nanoseconds

_BOM, _WIDE_BOMS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_KEYS = re.compile(rb"\b(?:run_type|trace_id|traceId)\b")
_CELL = re.compile(r'"([^"]*(?:""[^"]*)*)"|([^",]*)')
_STRUCTURED = frozenset({"input", "output", "inputs", "outputs", "extra", "metadata"})
_TIMES = frozenset({"start_time", "startTime"})
_NEEDED = ({"run_type", "inputs"}, {"type", "trace_id"}, {"type", "traceId"})
_MOST_COLUMNS, _SHOWN = 1000, 40


def is_header(line: bytes) -> bool:
    """Return whether the first line of a file names the columns of an export."""
    begun = line.removeprefix(_BOM).lstrip()
    if line.startswith(_WIDE_BOMS):
        return True
    return not begun.startswith((b"{", b"[")) and _KEYS.search(begun) is not None


class CsvRows:
    """The rows of one file, whose first line was read already. ``line`` is where the row begins that is read."""

    def __init__(self, header: bytes, stream: IO[bytes] | GzipFile, *, row_bytes: int) -> None:
        self.line = 1
        self._header, self._stream, self._most = header, stream, row_bytes
        self._taken = 1

    def read(self) -> Iterator[bytes]:
        """Yield each row.

        Raises:
            MalformedError: it is no such file; the text names the column where it is one of them.
        """
        columns = self._columns()
        while begun := self._next():
            self.line = self._taken
            if row := self._row(begun):
                yield json.dumps(_record(columns, _cells(row, columns)), ensure_ascii=False).encode()

    def _columns(self) -> list[str]:
        if self._header.startswith(_WIDE_BOMS):
            raise MalformedError("it is UTF-16; save it as UTF-8")
        columns = _cells(self._row(self._header.removeprefix(_BOM)), ())
        if len(columns) == 1:
            raise MalformedError("its columns are not separated by commas")
        if len(columns) > _MOST_COLUMNS:
            raise MalformedError(f"it has more than {_MOST_COLUMNS} columns")
        if twice := next((name for name in columns if columns.count(name) > 1), None):
            raise MalformedError(f"two columns are called '{twice[:_SHOWN]}'")
        if not any(needed <= set(columns) for needed in _NEEDED):
            raise MalformedError("it has neither the columns run_type and inputs, nor type and trace_id (or traceId)")
        return columns

    def _row(self, begun: bytes) -> str:
        """Return a row without its end; it goes on over as many lines as its quotes say."""
        row = bytearray(begun)
        # Every quote of a cell is there twice, so that a row is whole when their number is even.
        quotes = begun.count(b'"')
        while quotes % 2 and len(row) <= self._most:
            more = self._next()
            if not more:
                raise MalformedError("a quote is opened and not closed")
            row += more
            quotes += more.count(b'"')
        if len(row) > self._most:
            raise MalformedError(f"the row is longer than {self._most} bytes, or a quote in it is not closed")
        try:
            return row.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise MalformedError("it is not UTF-8") from error

    def _next(self) -> bytes:
        self._taken += 1
        return self._stream.readline(self._most + 1)


def _cells(row: str, columns: Sequence[str]) -> list[str]:
    cells: list[str] = []
    at = 0
    while True:
        found = _CELL.match(row, at)
        if found is None:
            raise AssertionError("an empty cell is one")
        cells.append(found[2] if found[1] is None else found[1].replace('""', '"'))
        at = found.end()
        if at == len(row):
            break
        if row[at] != ",":
            raise MalformedError(f"{_column(columns, len(cells))}: there is a quote in a cell, or text after one")
        at += 1
    if columns and len(cells) != len(columns):
        raise MalformedError(f"it has {len(cells)} cells, and there are {len(columns)} columns")
    return cells


def _record(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str | None]:
    for number, (name, cell) in enumerate(zip(columns, cells, strict=True), start=1):
        if name in _STRUCTURED and cell.startswith(("{'", "[{'")):
            raise MalformedError(
                f"{_column(columns, number)}: it is what Python prints, and no JSON; write it with json.dumps"
            )
        if name in _TIMES and cell:
            try:
                nanoseconds(cell)
            except MalformedError as error:
                raise MalformedError(f"{_column(columns, number)}: {error}") from error
    return {name: cell or None for name, cell in zip(columns, cells, strict=True)}


def _column(columns: Sequence[str], number: int) -> str:
    name = f" ({columns[number - 1][:_SHOWN]})" if number <= len(columns) else ""
    return f"column {number}{name}"
