"""Reads partitions of a log back, and believes of them what their checkpoint commits to.

A file's bytes must be those that the manifest names, its leaves those of its range, and the roots of all files that of
the checkpoint, before anything is decided on them. What no leaf commits to, and so whoever wrote the files could have
left out or renamed, is that a leaf concludes a decision at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.adapters.corpus.partitions import MANIFEST, VERSION, Partition, is_sound, parquet_schema
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError
from aisecops_server.domain.formats.signed_note import Note, read_note
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.domain.log.log_leaf import LogLeaf
from aisecops_server.domain.log.merkle import root_of
from aisecops_server.domain.log.record import LogHead

_FILE = re.compile(r"leaves-\d{12}-\d{12}\.parquet")
_ROWS_AT_ONCE = 1024
_EXPORT = "Write it again: 'aisecops log export-partitions FOLDER'"


@dataclass(frozen=True, slots=True)
class Partitions:
    """What a folder's manifest says: a note that nobody verified yet, its head, and the files in order."""

    folder: Path
    note: Note
    head: LogHead
    files: tuple[Partition, ...]


def read_manifest(folder: Path) -> Partitions:
    """Return what the manifest in ``folder`` says, if its files are the whole of what its checkpoint covers.

    Raises:
        InvalidRequestError: there is no manifest of a whole export.
        IntegrityError: its files are not those of its checkpoint.
    """
    told = _told(folder / MANIFEST)
    if not told["checkpoint"]:
        raise _refused(folder, "the export is not finished")
    note = read_note(told["checkpoint"])
    head = read_checkpoint(note.text).head
    files = tuple(_partition(folder, each) for each in told["partitions"])
    following = 0
    for each in files:
        if each.first != following or each.last < each.first:
            raise IntegrityError(f"{folder}: leaf {following} is in none of the files that its manifest names")
        following = each.last + 1
    if (following, root_of(bytes.fromhex(each.root) for each in files)) != (head.size, head.root):
        raise IntegrityError(f"{folder}: its files are not those of its checkpoint")
    return Partitions(folder, note, head, files)


def read_leaves(partitions: Partitions, partition: Partition) -> Iterator[list[LogLeaf]]:
    """Yield the leaves of one file in order, some at a time.

    They are whole only once the last of them was given; nothing may be done with them before.

    Raises:
        InvalidRequestError: Parquet cannot be read here, or the file is not there.
        IntegrityError: the file is not the one that was written.
    """
    path = partitions.folder / partition.file
    try:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != partition.sha256:
                raise IntegrityError(f"{path}: it is not the file that its manifest names")
    except OSError as error:
        raise _refused(path, "it cannot be read") from error
    hashes: list[bytes] = []
    for leaves in _rows(path):
        for leaf in leaves:
            if leaf.index != partition.first + len(hashes):
                raise IntegrityError(f"{path}: leaf {partition.first + len(hashes)} is missing")
            if leaf.body is not None and not is_sound(leaf, leaf.body):
                raise IntegrityError(f"{path}: leaf {leaf.index} was altered")
            hashes.append(leaf.leaf_hash)
        yield leaves
    if (partition.first + len(hashes), root_of(hashes).hex()) != (partition.last + 1, partition.root):
        raise IntegrityError(f"{path}: its leaves are not those of its range")


def _rows(path: Path) -> Iterator[list[LogLeaf]]:
    schema = parquet_schema()
    import pyarrow as pa  # noqa: PLC0415 - optional
    from pyarrow import parquet  # noqa: PLC0415

    names = [each.name for each in fields(LogLeaf)]
    try:
        with parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise IntegrityError(f"{path}: its columns are not those of a partition")
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                columns = batch.to_pydict()
                yield [LogLeaf(*row) for row in zip(*(columns[name] for name in names), strict=True)]
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{path}: it cannot be read as Parquet") from error


def _told(path: Path) -> dict[str, Any]:
    try:
        told: Any = orjson.loads(path.read_bytes())
        if told["partitions_version"] != VERSION or not isinstance(told["partitions"], list):
            raise _refused(path, "it is no manifest of partitions of this version")
        return {"checkpoint": str(told["checkpoint"]), "partitions": told["partitions"]}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise _refused(path, "there is no manifest of partitions") from error


def _partition(folder: Path, told: Any) -> Partition:
    try:
        made = Partition(**told)
        # Only names that the export gives, so that none leads out of the folder.
        if _FILE.fullmatch(made.file) and isinstance(made.first, int) and isinstance(made.last, int):
            bytes.fromhex(made.root)
            return made
    except (TypeError, ValueError) as error:
        raise _refused(folder, "a file of its manifest has no range") from error
    raise _refused(folder, "a file of its manifest is none that an export writes")


def _refused(path: Path, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{path}: {why}", hint=_EXPORT, field="partitions")
