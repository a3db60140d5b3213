"""Composes the export of the log as partitions: the log is only read, whether it is a file or a database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from aisecops_server.adapters.corpus.partitions import LEAVES, Partition, write_partitions
from aisecops_server.adapters.sqlite.checkpoint_store import latest_checkpoint
from aisecops_server.bootstrap.store import history_of
from aisecops_server.domain.checkpoint import read_checkpoint
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.settings import Settings


async def export_partitions(
    settings: Settings, folder: Path, *, size: int = LEAVES, progress: Callable[[int, int | None], None]
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
