"""Composes the export of the log as partitions, and its way back: into a history that a replay reads."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from aisecops_server.adapters.corpus.partition_reading import Partitions, read_leaves, read_manifest
from aisecops_server.adapters.corpus.partitions import LEAVES, Partition, write_partitions
from aisecops_server.adapters.signing.keys import verifies_ed25519
from aisecops_server.adapters.sqlite.checkpoint_store import latest_checkpoint
from aisecops_server.adapters.sqlite.leaf_index import LeafIndex
from aisecops_server.bootstrap.state import private
from aisecops_server.bootstrap.store import history_of
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError
from aisecops_server.domain.formats.signed_note import opened, read_key
from aisecops_server.domain.log.checkpoint import read_checkpoint
from aisecops_server.settings import Settings

Progress = Callable[[int, int | None], None]
_SCRATCH = "partitions-"


async def export_partitions(
    settings: Settings, folder: Path, *, size: int = LEAVES, progress: Progress
) -> list[Partition]:
    """Write the leaves that the latest signed checkpoint covers.

    Raises:
        InvalidRequestError: nothing was signed yet, ``size`` is no power of two, or Parquet cannot be written here.
        LogUnavailableError: there is no log.
        IntegrityError: the log is not the one that was signed.
    """
    history = history_of(settings)
    try:
        note = await asyncio.to_thread(latest_checkpoint, settings.checkpoint_path)
        if note is None:
            raise InvalidRequestError(
                "no checkpoint was signed yet", hint="Run 'aisecops log checkpoint' first", field="folder"
            )
        head = read_checkpoint(note.text).head
        return await write_partitions(
            folder, history.leaves, head=head, checkpoint=note.written(), size=size, progress=progress
        )
    finally:
        await history.close()


@contextlib.contextmanager
def indexed_partitions(settings: Settings, folder: Path, *, log_key: str = "", progress: Progress) -> Iterator[Path]:
    """Give the database that a replay reads the partitions in ``folder`` from, for the length of the block.

    It is made anew each time and stays no longer, so that nothing that is erased lives on in it. ``log_key`` is the
    log's key as its reader knows it; without one nobody verified who signed the checkpoint.

    Raises:
        InvalidRequestError: there are no partitions, they cannot be read here, or ``log_key`` is no key.
        IntegrityError: they are not what the checkpoint commits to, or that key did not sign it.
        OSError: the scratch file cannot be written.
    """
    partitions = read_manifest(folder)
    if log_key:
        _require_signed(partitions, log_key)
    with _scratch(settings.state_dir / "replay") as directory:
        path = directory / "history.db"
        index = LeafIndex(path)
        for partition in partitions.files:
            for leaves in read_leaves(partitions, partition):
                index.add(leaves)
            progress(partition.last + 1, partitions.head.size)
        if index.close() != partitions.head:
            raise IntegrityError(f"{folder}: its files are not those of its checkpoint")
        yield path


def _require_signed(partitions: Partitions, log_key: str) -> None:
    try:
        key = read_key(log_key)
    except IntegrityError as error:
        raise InvalidRequestError(
            "that is no key of a log", hint="'aisecops log key' prints it: name+id+key", field="log_key"
        ) from error
    if key.name not in opened(partitions.note, [key], verifies_ed25519):
        raise IntegrityError("the checkpoint of these partitions is not signed by that log's key", key=key.name)


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """Give a directory of our own in ``parent``, and delete it, and what somebody who was killed left there."""
    private(parent)
    for left in parent.glob(f"{_SCRATCH}*"):
        with _held(left) as is_ours:
            if is_ours:
                shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=parent))
    with _held(directory):
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[bool]:
    """Hold the lock of ``directory``, which its maker holds for as long as it lives, and tell whether it was free."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
