"""Reads files of OTLP/JSON lines: one ``ExportTraceServiceRequest`` a line, plain or gzip.

Strict in what it needs and blind to the rest: a line that is not what it should be ends the reading with its
number; unknown attributes and spans are passed over. Sizes are bounded before anything is parsed, so that a small
file cannot unfold into a large one.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aisecops_server.adapters.otlp.attributes import MalformedError
from aisecops_server.adapters.otlp.spans import ToolServers, traces_of
from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.recorded_trace import RecordedTrace

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class TraceFileLimits:
    """Upper bounds, in bytes after decompression."""

    line_bytes: int = 16 * 1024 * 1024
    file_bytes: int = 4 * 1024 * 1024 * 1024
    expansion: int = 200


@dataclass(frozen=True, slots=True)
class OtlpTraceFile:
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
        for number, line in self._lines():
            try:
                yield from traces_of(_request(line), self.servers)
            except (ValueError, RecursionError) as error:
                raise self._refusal(f"line {number} is not OTLP/JSON with GenAI spans: {error}", number) from error

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self.path.open("rb") as raw:
                packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
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
            allowance -= len(line)
            if len(line) > self.limits.line_bytes:
                raise self._refusal(f"line {number} is longer than {self.limits.line_bytes} bytes", number)
            if allowance < 0:
                raise self._refusal("it unfolds to more than may be read", number)
            if line.strip():
                yield number, line

    def _allowance(self) -> int:
        generous = max(self.path.stat().st_size * self.limits.expansion, self.limits.line_bytes)
        return min(self.limits.file_bytes, generous)

    def _refusal(self, why: str, line: int) -> InvalidRequestError:
        place = {"line": str(line)} if line else {}
        return InvalidRequestError(
            f"{self.path.name}: {why}",
            hint="Export traces as OTLP/JSON lines with the GenAI semantic conventions",
            field="file",
            file=str(self.path),
            **place,
        )


def _request(line: bytes) -> Mapping[str, JsonValue]:
    value = json.loads(line.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse)
    if not isinstance(value, dict):
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
