"""Rows of Parquet are read like lines of JSON: the same traces, the same strictness, the same bounds."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aisecops_server.adapters.recordings.tool_servers import ToolServers
from aisecops_server.adapters.recordings.trace_file import RecordingFile, TraceFileLimits
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.recordings.recorded_trace import RecordedTrace
from pyarrow import parquet

SERVERS = ToolServers(otherwise="desk")
ROWS: list[dict[str, Any]] = [
    {
        "id": "o-1",
        "trace_id": "9d1a8b0a4d2f4f0c8e6b7c5a3f2e1d00",
        "environment": "production",
        "type": "TOOL",
        "name": "tickets/read",
        "start_time": datetime(2026, 10, 12, 9, 30, 1, 100000, tzinfo=UTC),
        "input": '{"ticket_id": "T-4711"}',
        "output": '{"text": "Late again."}',
        "session_id": "t-1",
        "metadata": {"team": "support"},
    },
    {
        "id": "o-2",
        "trace_id": "9d1a8b0a4d2f4f0c8e6b7c5a3f2e1d00",
        "environment": "production",
        "type": "GENERATION",
        "name": "chat",
        "start_time": datetime(2026, 10, 12, 9, 30, tzinfo=UTC),
        "input": '[{"role": "user", "content": "What does ticket T-4711 say?"}]',
        "output": None,
        "session_id": "t-1",
        "metadata": None,
    },
]


def read(path: Path, **limits: int) -> list[RecordedTrace]:
    return list(RecordingFile(path, SERVERS, TraceFileLimits(**limits)).read())


def written(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Path:
    fields = {name: pa.string() for name in ROWS[0]} | {
        "start_time": pa.timestamp("us", tz="UTC"),
        "metadata": pa.map_(pa.string(), pa.string()),
    }
    held = [{**row, "metadata": list((row["metadata"] or {}).items())} for row in rows]
    parquet.write_table(pa.Table.from_pylist(held, schema=pa.schema(fields)), path, **options)
    return path


@pytest.mark.parametrize("compression", ["snappy", "gzip", "none"])
def test_an_export_of_langfuse_says_the_same_as_parquet_and_as_lines(tmp_path: Path, compression: str) -> None:
    lines = tmp_path / "observations.jsonl"
    lines.write_text(
        "\n".join(json.dumps(row | {"start_time": row["start_time"].isoformat()}) for row in ROWS), encoding="utf-8"
    )
    rows = written(tmp_path / "observations.parquet", ROWS, compression=compression)
    assert read(rows) == read(lines)
    [trace] = read(rows)
    assert [(call.tool, json.loads(call.arguments_json)) for call in trace.calls] == [
        ("tickets/read", {"ticket_id": "T-4711"})
    ]
    assert trace.calls[0].started_at_ns == 1_791_797_401_100_000_000
    assert [prompt.text for prompt in trace.prompts] == ["What does ticket T-4711 say?"]


def test_a_row_that_is_no_record_ends_the_reading_with_its_number(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", [ROWS[0], {**ROWS[0], "type": "ELSE"}])
    with pytest.raises(InvalidRequestError, match="line 2 is no recorded trace"):
        read(path)


def test_a_file_that_unfolds_without_end_is_refused_before_it_has(tmp_path: Path) -> None:
    # One long value, stored once and repeated in every row.
    large = {**ROWS[0], "output": json.dumps("x" * 200_000)}
    path = written(tmp_path / "bomb.parquet", [{**large, "id": f"o-{number}"} for number in range(400)])
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InvalidRequestError, match="unfolds"):
        read(path, file_bytes=10_000_000)
    with pytest.raises(InvalidRequestError, match="row 1 is longer"):
        read(path, line_bytes=100_000)
    with pytest.raises(InvalidRequestError, match="group of its rows"):
        read(path, document_bytes=100)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds what a process takes for its data")
@pytest.mark.parametrize("shape", ["in one row", "in every row"])
def test_a_value_that_is_stored_once_and_stands_everywhere_takes_no_memory(tmp_path: Path, shape: str) -> None:
    path, before = tmp_path / "bomb.parquet", resource.getrlimit(resource.RLIMIT_DATA)
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 1_000_000]))
    tags = pa.ListArray.from_arrays(pa.array([0, 20_000], pa.int32()), repeated)
    table = pa.table({"tags": tags} if shape == "in one row" else {"type": repeated})
    parquet.write_table(table, path, compression="zstd", store_schema=False)
    # Some kilobytes, which say of themselves that they are one megabyte, and are twenty gigabytes.
    assert path.stat().st_size < 10_000
    assert parquet.ParquetFile(path).metadata.row_group(0).total_byte_size < 2_000_000
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # A row by itself is read, and is no record; the one that is all of it is not read.
    with pytest.raises(InvalidRequestError, match="unfolds to more" if shape == "in one row" else "no recorded trace"):
        read(path, file_bytes=10_000_000, document_bytes=16_000_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - taken < 1_500_000
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_time_that_no_calendar_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"type": ["TOOL"], "start_time": pa.array([2**62], pa.timestamp("us"))}), path)
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read(path)


@pytest.mark.parametrize("damage", [slice(0, 40), slice(-30, None), slice(4, 200)])
def test_what_only_begins_like_parquet_is_refused(tmp_path: Path, damage: slice) -> None:
    path = written(tmp_path / "x.parquet", ROWS)
    content = bytearray(path.read_bytes())
    part = range(*damage.indices(len(content)))
    for at in part:
        if at >= 4:
            content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InvalidRequestError):
        read(path)


def test_a_column_that_no_trace_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"type": ["TOOL"], "trace_id": ["t"], "raw": [b"\x00"]}), path)
    with pytest.raises(InvalidRequestError, match="bytes is not expected"):
        read(path)
