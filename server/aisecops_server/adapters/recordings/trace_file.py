"""Reads files of recorded traces: JSON lines or CSV, plain or gzip, one JSON document, or rows of a Parquet file.

What is on a line says what it is: an OTLP export request (GenAI or OpenInference conventions), an observation of
Langfuse, a run of LangSmith. Strict in what it needs and blind to the rest: a line that is not what it should be ends
the reading with its number; unknown attributes and spans are passed over. Sizes are bounded before anything is parsed,
so that a small file cannot unfold into a large one.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from aisecops_server.adapters.recordings import langfuse, langsmith, spans
from aisecops_server.adapters.recordings.attributes import MalformedError
from aisecops_server.adapters.recordings.csv_rows import CsvRows, is_header
from aisecops_server.adapters.recordings.openinference import Planned
from aisecops_server.adapters.recordings.parquet_rows import MAGIC, rows
from aisecops_server.adapters.recordings.tool_servers import ToolServers
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.recordings.recorded_trace import RecordedTrace

_GZIP_MAGIC = b"\x1f\x8b"
_MOST_PARTS = 2_000
# What answers of the APIs keep their records in.
_WRAPPERS = ("data", "observations", "runs")


@dataclass(frozen=True, slots=True)
class TraceFileLimits:
    """Upper bounds, in bytes after decompression."""

    line_bytes: int = 16 * 1024 * 1024
    document_bytes: int = 128 * 1024 * 1024
    file_bytes: int = 4 * 1024 * 1024 * 1024
    expansion: int = 200


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """One file of recorded traces."""

    path: Path
    servers: ToolServers
    limits: TraceFileLimits = TraceFileLimits()

    def read(self) -> Iterator[RecordedTrace]:
        """Yield the traces of each line in turn.

        Raises:
            InvalidRequestError: the file cannot be read, is too large, or a line is malformed; its metadata has
                ``file`` and, where it applies, ``line``.
        """
        planned, parts = Planned(), _Parts()
        for number, line in self._lines():
            try:
                for is_whole, trace in _traces(_value(line, number), self.servers, planned):
                    yield from (trace,) if is_whole else parts.joined(trace)
            except (ValueError, RecursionError) as error:
                raise self._refusal(f"line {number} is no recorded trace that can be read: {error}", number) from error
        yield from parts.held.values()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self.path.open("rb") as raw:
                packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
                raw.seek(0)
                if raw.read(len(MAGIC)) == MAGIC:
                    yield from self._rows()
                    return
                raw.seek(0)
                if packed:
                    with gzip.open(raw) as unpacked:
                        yield from self._bounded(unpacked, self._allowance())
                else:
                    yield from self._bounded(raw, self.limits.file_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise self._refusal(f"it cannot be read: {error}", 0) from error

    def _bounded(self, stream: IO[bytes] | gzip.GzipFile, allowance: int) -> Iterator[tuple[int, bytes]]:
        number = 0
        while line := stream.readline(self.limits.line_bytes + 1):
            number += 1
            if number == 1 and _is_document(line):
                yield number, self._document(line, stream, min(allowance, self.limits.document_bytes))
                return
            if number == 1 and is_header(line):
                yield from self._csv(line, stream, allowance)
                return
            allowance -= len(line)
            if len(line) > self.limits.line_bytes:
                raise self._refusal(f"line {number} is longer than {self.limits.line_bytes} bytes", number)
            if allowance < 0:
                raise self._refusal("it unfolds to more than may be read", number)
            if line.strip():
                yield number, line

    def _csv(self, header: bytes, stream: IO[bytes] | gzip.GzipFile, allowance: int) -> Iterator[tuple[int, bytes]]:
        found = CsvRows(header, stream, row_bytes=self.limits.line_bytes)
        try:
            for line in found.read():
                allowance -= len(line)
                if allowance < 0:
                    raise self._refusal("it unfolds to more than may be read", found.line)
                yield found.line, line
        except MalformedError as error:
            raise self._refusal(f"line {found.line} is no row that can be read: {error}", found.line) from error

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        allowance = self._allowance()
        try:
            for number, line in enumerate(rows(self.path, group_bytes=self.limits.document_bytes), start=1):
                allowance -= len(line)
                if len(line) > self.limits.line_bytes:
                    raise self._refusal(f"row {number} is longer than {self.limits.line_bytes} bytes", number)
                if allowance < 0:
                    raise self._refusal("it unfolds to more than may be read", number)
                yield number, line
        except ValueError as error:
            raise self._refusal(f"it cannot be read: {error}", 0) from error

    def _document(self, begun: bytes, stream: IO[bytes] | gzip.GzipFile, allowance: int) -> bytes:
        whole = begun + stream.read(allowance + 1)
        if len(whole) > allowance:
            raise self._refusal(f"it is one document of more than {allowance} bytes; export it as JSON lines", 1)
        return whole

    def _allowance(self) -> int:
        generous = max(self.path.stat().st_size * self.limits.expansion, self.limits.line_bytes)
        return min(self.limits.file_bytes, generous)

    def _refusal(self, why: str, line: int) -> InvalidRequestError:
        place = {"line": str(line)} if line else {}
        return InvalidRequestError(
            f"{self.path.name}: {why}",
            hint="OTLP/JSON lines, and Langfuse observations and LangSmith runs as JSON, CSV or Parquet can be read",
            field="file",
            file=str(self.path),
            **place,
        )


@dataclass(slots=True)
class _Parts:
    """Traces that come record by record: few at once are joined before they are stored."""

    held: dict[str, RecordedTrace] = field(default_factory=dict)

    def joined(self, part: RecordedTrace) -> Iterator[RecordedTrace]:
        """Keep ``part``; yield what has to go for it."""
        known = self.held.pop(part.trace_id, None)
        self.held[part.trace_id] = known.joined(part) if known else part
        if len(self.held) > _MOST_PARTS:
            yield self.held.pop(next(iter(self.held)))


def _traces(value: JsonValue, servers: ToolServers, planned: Planned) -> Iterator[tuple[bool, RecordedTrace]]:
    """Yield the traces in a value, and whether each is all that there is of it in its place."""
    for record in _records(value):
        if langsmith.is_run(record):
            yield from ((False, trace) for trace in langsmith.traces_of(record, servers))
        elif langfuse.is_observation(record):
            yield False, langfuse.trace_of(record, servers)
        elif not record or any(name.startswith("resource") for name in record):
            yield from ((True, trace) for trace in spans.traces_of(record, servers, planned))
        else:
            raise MalformedError("neither an OTLP request, a Langfuse observation nor a LangSmith run")


def _records(value: JsonValue) -> Iterator[Mapping[str, JsonValue]]:
    """Yield the records of a line or a document, also out of what an API wraps them in."""
    if isinstance(value, list):
        for item in value:
            yield from _records(item)
    elif not isinstance(value, Mapping):
        raise MalformedError("a record is not an object")
    elif inner := next((value[name] for name in _WRAPPERS if isinstance(value.get(name), list)), None):
        yield from _records(inner)
    else:
        yield value


def _is_document(line: bytes) -> bool:
    """Return whether a first line begins one document instead of standing for itself."""
    return line.lstrip().startswith(b"[") or line.strip() == b"{"


def _value(line: bytes, number: int) -> JsonValue:
    value: JsonValue = json.loads(line.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse)
    if isinstance(value, list) and number > 1:
        raise MalformedError("the line is not an object")
    if b"\\ud" in line.lower():
        # A lone surrogate is no character: nothing could store or show it.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _distinct(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    held = dict(pairs)
    if len(held) != len(pairs):
        raise MalformedError("an object has a key twice")
    return held


def _refuse(name: str) -> JsonValue:
    raise MalformedError(f"{name} is not a JSON number")
