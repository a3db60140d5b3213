"""Rows of a Parquet file as lines of JSON, so that they are read as strictly as a file of lines is.

One row at a time is unfolded: a value that is stored once can stand in many rows, and many times in one. What a file
says of its own size is of values as they are stored, and may be a lie, so the memory that reading takes is bounded as
well, where the system does that (Linux); what the reader has reserved before, up to a gigabyte, it may fill.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from aisecops_server.domain.errors import InvalidRequestError

MAGIC = b"PAR1"
# A group of rows is held packed, unpacked and as the row that is read of it; the reader itself needs some, too.
_TIMES, _OWN_BYTES = 4, 64 * 1024 * 1024
_DATA = "VmData:"


def rows(path: Path, *, group_bytes: int) -> Iterator[bytes]:
    """Yield each row of a file; no part of it may unfold to more than ``group_bytes``.

    Raises:
        InvalidRequestError: nothing is installed that reads such files.
        OSError, ValueError: it cannot be read, or is too large.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise InvalidRequestError(
            "Parquet needs pyarrow", hint="Install it: pip install 'aisecops[server,partitions]'", field="file"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                if file.metadata.row_group(number).total_byte_size > group_bytes:
                    raise ValueError(f"a group of its rows has more than {group_bytes} bytes")
            batches = file.iter_batches(batch_size=1, use_threads=False)
            while line := _next(batches, _TIMES * group_bytes + _OWN_BYTES):
                yield line
    except MemoryError as error:
        raise ValueError(f"a row of it unfolds to more than {group_bytes} bytes") from error
    except (pa.ArrowException, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"no Parquet that can be read: {error}") from error


def _next(batches: Iterator[Any], most_bytes: int) -> bytes:
    """Return the next row, for which no more memory than ``most_bytes`` is taken; nothing after the last one."""
    with _within(most_bytes):
        for batch in batches:
            [row] = batch.to_pylist(maps_as_pydicts="strict")
            return json.dumps(row, default=_plain, allow_nan=False).encode()
    return b""


@contextmanager
def _within(more_bytes: int) -> Iterator[None]:
    """Let this process take only so much more memory while the block runs, or as much as it might before, if less.

    What asks for more gets ``MemoryError``.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [bound for bound in before if bound != resource.RLIM_INFINITY]
    if taken := _taken_bytes():
        resource.setrlimit(resource.RLIMIT_DATA, (min([taken + more_bytes, *bounds]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _taken_bytes() -> int:
    """Return how much memory this process has for data; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text("ascii", errors="replace")
    except OSError:
        return 0
    told = next((line for line in status.splitlines() if line.startswith(_DATA)), "")
    return int(told.split()[1]) * 1024 if told else 0


def _plain(value: Any) -> str:
    """Return a time as exports write it.

    Raises:
        TypeError: it is nothing that JSON or a trace has.
    """
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    raise TypeError(f"{type(value).__name__} is not expected")
