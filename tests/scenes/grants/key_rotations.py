"""Rotating the key of grants over a real log and real files, with a stop between any two steps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aisecops_server.adapters.signing.grants import TimedGrantKeys
from aisecops_server.adapters.signing.key_files import KeyFiles
from aisecops_server.adapters.signing.keys import SigningKey, verifies_ed25519
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.log.key_rotation import KeyUse
from aisecops_server.domain.log.record import ChangeRecord, LogHead, Receipt
from aisecops_server.usecases.log.rotate_key import FollowKeys, RotatedKey, RotateKeys

from tests.fakes.clock import FakeClock
from tests.scenes.grants.granting import IDS, Workshop

# In the order in which they come.
STEPS = ("prepare", "prepared", "record", "recorded", "turned", "destroyed")


class Stopped(BaseException):
    """The process ends here."""


@dataclass
class Stops:
    """Where the process ends: before or after a step of a rotation."""

    at: str = ""

    def reach(self, step: str) -> None:
        if self.at == step:
            raise Stopped(step)


@dataclass(frozen=True)
class StoppingFiles:
    """Files of keys, in front of and behind which the process may end."""

    files: KeyFiles
    stops: Stops

    def first(self) -> SigningKey:
        return self.files.first()

    def current(self, number: int, public: bytes) -> SigningKey:
        return self.files.current(number, public)

    def following(self, number: int) -> SigningKey:
        self.stops.reach("prepare")
        found = self.files.following(number)
        self.stops.reach("prepared")
        return found

    def destroy_before(self, number: int) -> None:
        self.stops.reach("turned")
        self.files.destroy_before(number)
        self.stops.reach("destroyed")


@dataclass(frozen=True)
class StoppingLog:
    """A log, in front of and behind whose appending the process may end."""

    log: SqliteEventLog
    stops: Stops

    async def append_change(self, record: ChangeRecord) -> Receipt:
        self.stops.reach("record")
        receipt = await self.log.append_change(record)
        self.stops.reach("recorded")
        return receipt

    async def key_rotations(self, use: KeyUse) -> list[StoredEvent]:
        return await self.log.key_rotations(use)

    async def head(self) -> LogHead:
        return await self.log.head()

    def events(self, *, from_index: int, follow: bool, trace_id: str) -> AsyncGenerator[StoredEvent, None]:
        return self.log.events(from_index=from_index, follow=follow, trace_id=trace_id)


@dataclass
class Rotating:
    """A control plane as far as it signs grants. ``shop`` gives grants and uses them up."""

    shop: Workshop
    keys: FollowKeys[TimedGrantKeys]
    files: KeyFiles
    stops: Stops = field(default_factory=Stops)

    async def rotate(self, *, revoke: bool = False, reason: str = "yearly") -> RotatedKey:
        rotate = RotateKeys(self.keys, IDS)
        return await rotate(principal="dana@corp.example", reason=reason, revoke=revoke)

    @property
    def current(self) -> bytes:
        return self.keys.ring.signer.public_raw

    def names(self) -> list[str]:
        return sorted(file.name for file in self.files.directory.glob("grants*.pem"))


@asynccontextmanager
async def rotating(place: Path, clock: FakeClock | None = None) -> AsyncIterator[Rotating]:
    """Start on the state in ``place`` and stop again; the same place gives the same state."""
    clock, stops = clock or FakeClock(), Stops()
    log = open_log(place / "audit.db", LogOptions(minimum_free_bytes=0))
    files = KeyFiles(place / "keys", KeyUse.GRANT)
    keys = FollowKeys(
        KeyUse.GRANT,
        StoppingLog(log, stops),
        StoppingFiles(files, stops),
        TimedGrantKeys(clock),
        clock,
        verifies_ed25519,
    )
    try:
        await keys.open()
        yield Rotating(Workshop(log, keys.ring, clock, place / "audit.db"), keys, files, stops)
    finally:
        await log.close()
