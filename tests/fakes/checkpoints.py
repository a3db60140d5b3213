"""Commits of a log in memory: the real use case and real keys, on stores that keep one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.domain.formats.signed_note import Note, NoteKey
from aisecops_server.domain.log.record import LogHead
from aisecops_server.ports import Witness
from aisecops_server.usecases.log.checkpoint import CheckpointKeys, PublishCheckpoint

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


@dataclass
class MemoryWitnessStore:
    """Keeps the last head of each log."""

    heads: dict[str, LogHead] = field(default_factory=dict)
    keys: dict[str, NoteKey] = field(default_factory=dict)
    earlier: dict[str, list[NoteKey]] = field(default_factory=dict)

    async def key_of(self, given: NoteKey) -> NoteKey:
        return self.keys.get(given.text(), given)

    async def keys_before(self, given: NoteKey) -> Sequence[NoteKey]:
        return self.earlier.get(given.text(), [])

    async def follow(self, given: NoteKey, key: NoteKey) -> None:
        self.earlier.setdefault(given.text(), []).append(await self.key_of(given))
        self.keys[given.text()] = key

    async def latest(self, origin: str) -> LogHead | None:
        return self.heads.get(origin)

    async def advance(self, origin: str, head: LogHead, *, after: int) -> bool:
        last = self.heads.get(origin)
        if (last.size if last else 0) != after:
            return False
        self.heads[origin] = head
        return True


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
