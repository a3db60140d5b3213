"""Partitions: the log's leaves by ranges as Parquet files, with a manifest that ties each to a signed checkpoint.

A file has one row for each leaf of its range, so that the range's Merkle root can be computed from the file alone; rows
that conclude a decision hold what is needed to decide it again. Ranges are aligned powers of two, so their roots are
nodes of the log's tree: the root over them is that of the checkpoint. Written in order, each file before the manifest
that names it. A file that would be the same is not written again; one that holds what was erased since is, and one of
an earlier export that this one does not name is deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.domain.errors import IntegrityError, InvalidRequestError
from aisecops_server.domain.events.event import CONCLUDED, commits_to, details_in
from aisecops_server.domain.log.log_leaf import LogLeaf
from aisecops_server.domain.log.merkle import leaf_hash, root_of
from aisecops_server.domain.log.record import LogHead

VERSION = 1
LEAVES = 65_536
MANIFEST = "manifest.json"
_OWN = re.compile(r"(?:leaves-\d{12}-\d{12}|manifest)\.(?:parquet|part)")
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
    await asyncio.to_thread(_require_own, folder)
    written: list[Partition] = []
    for first in range(0, head.size, size):
        end = min(first + size, head.size)
        found = await leaves(first, end)
        _require_sound(found, first, end)
        root = root_of(leaf.leaf_hash for leaf in found).hex()
        written.append(_written(folder, found, root))
        _save(folder, written, size, "")
        progress(end, head.size)
    if root_of(bytes.fromhex(each.root) for each in written) != head.root:
        raise IntegrityError("the leaves are not those of the signed checkpoint; run 'aisecops log verify'")
    _save(folder, written, size, checkpoint)
    await asyncio.to_thread(_delete_others, folder, {each.file for each in written})
    return written


def _delete_others(folder: Path, named: set[str]) -> None:
    for path in folder.iterdir():
        if _OWN.fullmatch(path.name) and path.name not in named:
            path.unlink()


def _require_sound(found: Sequence[LogLeaf], first: int, end: int) -> None:
    if [leaf.index for leaf in found] != list(range(first, end)):
        raise IntegrityError(f"leaves {first} to {end - 1} are not all there; run 'aisecops log verify'")
    for leaf in found:
        if leaf.body is not None and not is_sound(leaf, leaf.body):
            raise IntegrityError(f"leaf {leaf.index} was altered; run 'aisecops log verify'")


def is_sound(leaf: LogLeaf, body: bytes) -> bool:
    """Return whether a body is its leaf's, and what it commits to is there as it was or erased."""
    if leaf_hash(body) != leaf.leaf_hash or (leaf.payload is not None and not commits_to(body, leaf.payload)):
        return False
    if leaf.document is None:
        return True
    digest = hashlib.sha256(leaf.document)
    told = details_in(CONCLUDED, body, leaf.payload).get("document_digest")
    return leaf.document_digest == digest.digest() and told in ("", digest.hexdigest())


def _written(folder: Path, leaves: Sequence[LogLeaf], root: str) -> Partition:
    first, last = leaves[0].index, leaves[-1].index
    content = _parquet(leaves)
    made = Partition(_name(first, last), first, last, root, hashlib.sha256(content).hexdigest())
    path = folder / made.file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != made.sha256:
        _replace(path, content)
    return made


def parquet_schema() -> Any:
    """Return the columns of a file.

    Raises:
        InvalidRequestError: Parquet cannot be read or written here.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
    except ImportError as error:
        raise InvalidRequestError(
            "Parquet needs pyarrow", hint="Install it: pip install 'aisecops[server,partitions]'", field="folder"
        ) from error
    kinds = {"index": pa.int64(), "trace": pa.int64(), "decision_id": pa.string()}
    return pa.schema([(each.name, kinds.get(each.name, pa.binary())) for each in fields(LogLeaf)])


def _parquet(leaves: Sequence[LogLeaf]) -> bytes:
    schema = parquet_schema()
    import pyarrow as pa  # noqa: PLC0415 - optional
    from pyarrow import parquet  # noqa: PLC0415

    columns = [[getattr(leaf, name) for leaf in leaves] for name in schema.names]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), stream, compression="zstd")
    return stream.getvalue()


def _require_own(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    if not manifest.exists():
        # An export that was cut off at once left no more than a part of its first file.
        if any(not _OWN.fullmatch(path.name) for path in folder.iterdir()):
            raise InvalidRequestError(f"{folder} holds something else", hint="Name an empty folder", field="folder")
        return
    try:
        told: Any = orjson.loads(manifest.read_bytes())
        version = told["partitions_version"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        version = None
    if version != VERSION:
        raise InvalidRequestError(
            f"{manifest} is no manifest of partitions", hint="Name another folder", field="folder"
        )


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
