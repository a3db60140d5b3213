"""Partitions: the log's leaves by ranges as Parquet files, with a manifest that ties each to a signed checkpoint.

A file has one row for each leaf of its range, so that the range's Merkle root can be computed from the file alone; rows
that conclude a decision hold what is needed to decide it again. Ranges are aligned powers of two, so their roots are
nodes of the log's tree: the root over them is that of the checkpoint. Written in order, each file before the manifest
that names it; what a manifest names and what is still as it says is not written again.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.domain.errors import IntegrityError, InvalidRequestError
from aisecops_server.domain.log_leaf import LogLeaf
from aisecops_server.domain.merkle import leaf_hash, root_of
from aisecops_server.domain.record import LogHead

VERSION = 1
LEAVES = 65_536
MANIFEST = "manifest.json"
Leaves = Callable[[int, int], Awaitable[list[LogLeaf]]]


@dataclass(frozen=True, slots=True)
class Partition:
    """One file: leaves ``first`` to ``last``, their Merkle root and the file's SHA-256, both in hex."""

    file: str
    first: int
    last: int
    root: str
    sha256: str


async def write_partitions(
    folder: Path,
    leaves: Leaves,
    *,
    head: LogHead,
    checkpoint: str,
    size: int = LEAVES,
    progress: Callable[[int, int | None], None],
) -> list[Partition]:
    """Write the leaves below ``head``, the head of the signed note ``checkpoint``, ``size`` to a file.

    Raises:
        InvalidRequestError: ``size`` is no power of two, or Parquet cannot be written here.
        IntegrityError: the leaves are not those of the checkpoint.
        OSError: a file cannot be written.
    """
    if size < 1 or size & (size - 1):
        raise InvalidRequestError(f"{size} is no power of two", hint="Try 65536", field="leaves")
    known = await asyncio.to_thread(_known, folder)
    written: list[Partition] = []
    for first in range(0, head.size, size):
        end = min(first + size, head.size)
        found = await leaves(first, end)
        _require_sound(found, first, end)
        root = root_of(leaf.leaf_hash for leaf in found).hex()
        written.append(_kept(folder, known.get(first), last=end - 1, root=root) or _written(folder, found, root))
        _save(folder, written, size, "")
        progress(end, head.size)
    if root_of(bytes.fromhex(each.root) for each in written) != head.root:
        raise IntegrityError("the leaves are not those of the signed checkpoint; run 'aisecops log verify'")
    _save(folder, written, size, checkpoint)
    return written


def _require_sound(found: Sequence[LogLeaf], first: int, end: int) -> None:
    if [leaf.index for leaf in found] != list(range(first, end)):
        raise IntegrityError(f"leaves {first} to {end - 1} are not all there; run 'aisecops log verify'")
    for leaf in found:
        if leaf.body is not None and leaf_hash(leaf.body) != leaf.leaf_hash:
            raise IntegrityError(f"leaf {leaf.index} was altered; run 'aisecops log verify'")


def _kept(folder: Path, old: Partition | None, *, last: int, root: str) -> Partition | None:
    if old is None or (old.last, old.root, old.file) != (last, root, _name(old.first, last)):
        return None
    path = folder / old.file
    is_same = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == old.sha256
    return old if is_same else None


def _written(folder: Path, leaves: Sequence[LogLeaf], root: str) -> Partition:
    first, last = leaves[0].index, leaves[-1].index
    content = _parquet(leaves)
    name = _name(first, last)
    _replace(folder / name, content)
    return Partition(name, first, last, root, hashlib.sha256(content).hexdigest())


def _parquet(leaves: Sequence[LogLeaf]) -> bytes:
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise InvalidRequestError(
            "Parquet needs pyarrow", hint="Install it: pip install 'aisecops[server,partitions]'", field="folder"
        ) from error
    kinds = {"index": pa.int64(), "trace": pa.int64(), "decision_id": pa.string()}
    schema = pa.schema([(each.name, kinds.get(each.name, pa.binary())) for each in fields(LogLeaf)])
    columns = [[getattr(leaf, name) for leaf in leaves] for name in schema.names]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), stream, compression="zstd")
    return stream.getvalue()


def _known(folder: Path) -> dict[int, Partition]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        told: Any = orjson.loads((folder / MANIFEST).read_bytes())
        return {each["first"]: Partition(**each) for each in told["partitions"]}
    except FileNotFoundError:
        return {}
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidRequestError(
            f"{folder / MANIFEST} is no manifest of partitions", hint="Name another folder", field="folder"
        ) from error


def _save(folder: Path, partitions: Sequence[Partition], size: int, checkpoint: str) -> None:
    told = {
        "partitions_version": VERSION,
        "leaves": size,
        "checkpoint": checkpoint,
        "partitions": [asdict(each) for each in partitions],
    }
    _replace(folder / MANIFEST, orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n")


def _replace(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def _name(first: int, last: int) -> str:
    return f"leaves-{first:012d}-{last:012d}.parquet"
