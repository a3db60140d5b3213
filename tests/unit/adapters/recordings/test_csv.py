"""Rows of CSV are read like lines of JSON: the same traces, and what spreadsheets make of a file is told in words."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from aisecops_server.adapters.recordings.tool_servers import ToolServers
from aisecops_server.adapters.recordings.trace_file import RecordingFile, TraceFileLimits
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.recordings.recorded_trace import RecordedTrace

GOLDEN = Path(__file__).resolve().parents[3] / "golden/recordings"
FILES = ["langfuse.observations.jsonl", "langsmith.runs.jsonl"]
SERVERS = ToolServers(otherwise="hotel")
HEADER = "id,trace_id,type,name,start_time,input,output"
ROW = 'o1,t1,TOOL,get_weather,2026-10-12 09:30:00,"{""city"": ""Porto""}",Rain'


def read(path: Path, **limits: int) -> list[RecordedTrace]:
    return list(RecordingFile(path, SERVERS, TraceFileLimits(**limits)).read())


def exported(name: str, *, end: str = "\n", quoting: int = csv.QUOTE_ALL) -> str:
    """Return the records of a golden file as systems export them: what is structured as JSON, nothing as nothing."""
    records = [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    columns = list(dict.fromkeys(key for record in records for key in record))
    writer.writerow(columns)
    for record in records:
        cells = [record.get(column) for column in columns]
        writer.writerow(["" if cell is None else cell if isinstance(cell, str) else json.dumps(cell) for cell in cells])
    return out.getvalue()


def written(root: Path, *lines: str) -> Path:
    path = root / "export.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("begun", ["", "\ufeff"], ids=["plain", "bom"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
def test_a_run_is_the_same_trace_in_csv(tmp_path: Path, name: str, end: str, begun: str, quoting: int) -> None:
    path = tmp_path / "export.csv"
    path.write_text(begun + exported(name, end=end, quoting=quoting), newline="")
    assert read(path) == read(GOLDEN / name)
    packed = tmp_path / "export.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed) == read(path)


def test_columns_of_the_ui_are_read_as_those_of_the_storage(tmp_path: Path) -> None:
    renamed = HEADER.replace("trace_id", "traceId").replace("start_time", "startTime")
    assert read(written(tmp_path, HEADER, ROW)) == read(written(tmp_path, renamed, ROW))


def test_a_cell_is_what_it_is(tmp_path: Path) -> None:
    cells = [
        "=HYPERLINK(1)",
        "'=1+1",
        "+1",
        "-2",
        "@SUM",
        "007",
        "1e5",
        " spaced ",
        "TRUE",
        'a ""quote""',
        "two\nlines",
    ]
    rows = [f'o{at},t{at},TOOL,get_weather,2026-10-12,"{{}}","{cell}"' for at, cell in enumerate(cells)]
    traces = read(written(tmp_path, HEADER, *rows))
    assert [trace.calls[0].result for trace in traces] == [cell.replace('""', '"') for cell in cells]


def test_an_empty_cell_says_nothing_and_an_empty_line_is_no_row(tmp_path: Path) -> None:
    [trace] = read(written(tmp_path, HEADER, "", "o1,t1,TOOL,get_weather,2026-10-12,,", ""))
    assert (trace.calls[0].arguments_json, trace.calls[0].result) == ("", None)


def refusal(path: Path, **limits: int) -> tuple[str, str]:
    with pytest.raises(InvalidRequestError) as refused:
        read(path, **limits)
    return str(refused.value), refused.value.metadata().get("line", "")


@pytest.mark.parametrize(
    ("lines", "line", "why"),
    [
        ([HEADER.replace(",", ";"), ROW], "1", "not separated by commas"),
        ([HEADER.replace(",", "\t"), ROW], "1", "not separated by commas"),
        ([HEADER.replace("output", "id"), ROW], "1", "two columns are called 'id'"),
        ([HEADER.replace("type", "kind"), ROW], "1", "neither the columns run_type and inputs"),
        (["trace_id," * 1001, ROW], "1", "more than 1000 columns"),
        ([HEADER, ROW, "o2,t1,TOOL"], "3", "it has 3 cells, and there are 7 columns"),
        ([HEADER, f"{ROW},more"], "2", "it has 8 cells, and there are 7 columns"),
        ([HEADER, ROW, ROW.replace("o1", 'o"1"')], "3", "column 1 (id): there is a quote in a cell"),
        ([HEADER, ROW, f'"o"{ROW}'], "3", "column 1 (id): there is a quote in a cell, or text after one"),
        ([HEADER, ROW, ROW.replace("Rain", '"Rain')], "3", "a quote is opened and not closed"),
        (
            [HEADER, ROW.replace("Rain", '"a\nb"'), ROW.replace("2026-10-12", "12/10/26")],
            "4",
            "column 5 (start",
        ),
        ([HEADER, ROW.replace('""city""', "'city'")], "2", "column 6 (input): it is what Python prints"),
        ([HEADER, ROW.replace("o1,", ",")], "2", "a tool observation has no id"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_column(tmp_path: Path, lines: list[str], line: str, why: str) -> None:
    said, where = refusal(written(tmp_path, *lines))
    assert (where, why in said) == (line, True), said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "export.csv"
    begun = b"\xff\xfe" if encoding == "utf-16-le" else b""
    path.write_bytes(begun + f"{HEADER}\n{ROW.replace('Rain', 'Régen')}\n".encode(encoding))
    assert "UTF-" in refusal(path)[0]


def test_a_file_takes_no_more_memory_than_a_row(tmp_path: Path) -> None:
    path, unclosed = tmp_path / "export.csv", tmp_path / "unclosed.csv"
    with path.open("w") as file:
        file.write(f"{HEADER}\n")
        file.writelines(f'o{at},t1,CHAIN,x,,"{"x" * 1000}",\n' for at in range(20_000))
    unclosed.write_text(f'{HEADER}\n"{path.read_text()}')
    tracemalloc.start()
    try:
        assert len(read(path)) == 1
        assert "not closed" in refusal(unclosed, line_bytes=65_536)[0]
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 4
    finally:
        tracemalloc.stop()
    assert "unfolds" in refusal(path, file_bytes=1_000_000)[0]
