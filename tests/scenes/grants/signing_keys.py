"""Rotating a key that signs bundles or evidence packages over a real log and real files, with a stop at any step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.signing.key_files import NAMES, KeyFiles
from aisecops_server.adapters.signing.keys import verifies_ed25519
from aisecops_server.adapters.signing.one_key import OneSigningKey
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.usecases.log.rotate_key import FollowKeys, RotatedKey, RotateKeys

from tests.fakes.clock import FakeClock
from tests.scenes.grants.granting import IDS
from tests.scenes.grants.key_rotations import StoppingFiles, StoppingLog, Stops


@dataclass(frozen=True)
class SigningDesk:
    """A control plane as far as it follows one key."""

    log: SqliteEventLog
    keys: FollowKeys[OneSigningKey]
    files: KeyFiles
    stops: Stops

    async def rotate(self, *, revoke: bool = False, reason: str = "yearly") -> RotatedKey:
        rotate = RotateKeys(self.keys, IDS)
        return await rotate(principal="dana@corp.example", reason=reason, revoke=revoke)

    @property
    def current(self) -> bytes:
        return self.keys.ring.signer.public_raw

    async def told(self) -> list[StoredEvent]:
        return await self.log.key_rotations(self.keys.use)

    def names(self) -> list[str]:
        return sorted(file.name for file in self.files.directory.glob(f"{NAMES[self.keys.use]}*.pem"))


@asynccontextmanager
async def signing(place: Path, use: KeyUse) -> AsyncIterator[SigningDesk]:
    """Start on the state in ``place`` and stop again; the same place gives the same state."""
    stops, clock = Stops(), FakeClock()
    log = open_log(place / "audit.db", LogOptions(minimum_free_bytes=0))
    files = KeyFiles(place / "keys", use)
    seen, kept = StoppingLog(log, stops), StoppingFiles(files, stops)
    keys = FollowKeys(use, seen, kept, OneSigningKey(use), clock, verifies_ed25519)
    try:
        await keys.open(waiting=True)
        yield SigningDesk(log, keys, files, stops)
    finally:
        await log.close()
