"""Rows of a Parquet file as lines of JSON, so that they are read as strictly as a file of lines is.

One row at a time becomes a line: a value that is stored once and repeated in many rows would else unfold all at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from aisecops_server.domain.errors import InvalidRequestError

MAGIC = b"PAR1"
_ROWS = 512


def rows(path: Path, *, group_bytes: int) -> Iterator[bytes]:
    """Yield each row of a file; no part of it may say that it unfolds to more than ``group_bytes``.

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
            for batch in file.iter_batches(batch_size=_ROWS):
                for at in range(batch.num_rows):
                    [row] = batch.slice(at, 1).to_pylist(maps_as_pydicts="strict")
                    yield json.dumps(row, default=_plain, allow_nan=False).encode()
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise ValueError(f"no Parquet that can be read: {error}") from error


def _plain(value: Any) -> str:
    """Return a time as exports write it.

    Raises:
        TypeError: it is nothing that JSON or a trace has.
    """
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    raise TypeError(f"{type(value).__name__} is not expected")
