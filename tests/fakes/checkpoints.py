"""Commits of a log in memory: the real use case and real keys, on stores that keep one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.domain.signed_note import Note
from aisecops_server.ports import Witness
from aisecops_server.usecases.checkpoint import CheckpointKeys, PublishCheckpoint

from tests.fakes.event_log import MemoryEventLog

ORIGIN = "example.org/log"


@dataclass
class MemoryCheckpointStore:
    """Keeps the latest checkpoint."""

    note: Note | None = None

    async def latest(self) -> Note | None:
        return self.note

    async def save(self, note: Note) -> None:
        self.note = note


def publishing(
    keys: Path,
    log: MemoryEventLog,
    *,
    store: MemoryCheckpointStore | None = None,
    witnesses: Sequence[Witness] = (),
    origin: str = ORIGIN,
) -> PublishCheckpoint:
    return PublishCheckpoint(
        log=log,
        sealing=log,
        store=store or MemoryCheckpointStore(),
        keys=CheckpointKeys(origin, open_key(keys, "log")),
        witnesses=witnesses,
        verify=verifies_ed25519,
    )
