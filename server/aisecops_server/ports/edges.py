"""What edges and their centre need from the world: the records of one, the calls of the other, and what each keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.bundles.release import LastRelease, Mark, Release, SignedRelease
from aisecops_server.domain.edges.policy_age import Reckoning
from aisecops_server.domain.log.edge_log import EdgeLog
from aisecops_server.domain.log.record import LogHead


class EdgeStore(Protocol):
    """At the centre: how far each edge is reconciled. It changes only through the log, with the events of it."""

    async def edge(self, edge_id: str) -> EdgeLog | None:
        """Return one edge, or ``None`` before it enrolled."""
        ...

    async def edges(self) -> list[EdgeLog]:
        """Return the edges that have enrolled, by id."""
        ...

    async def released(self) -> LastRelease | None:
        """Return what was released last, or ``None`` before the first release."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """A part of an edge's log: bodies, a payload for each (empty for none), and a signed head that ends with them."""

    start: int
    events: tuple[bytes, ...]
    payloads: tuple[bytes, ...]
    checkpoint: str


class Centre(Protocol):
    """At the edge: the centre.

    Every call may raise ``RepositoryUnavailableError`` when the centre cannot be reached or does not let the edge in,
    and ``RecordsRefusedError`` with what it says of records.
    """

    async def release(self, nonce: str) -> SignedRelease:
        """Return the centre's word on which bundle is live."""
        ...

    async def archive(self, digest: str, *, limit: int) -> bytes:
        """Return the archive of the bundle that was released last, of at most ``limit`` bytes."""
        ...

    async def enrol(self, log_key: str, grant_keys: bytes) -> LogHead:
        """Make keys known and return how much of the log the centre has recorded."""
        ...

    async def reconcile(self, batch: Batch) -> LogHead:
        """Have a part of the log recorded and return how much the centre has by then, durably."""
        ...


@dataclass(frozen=True, slots=True)
class KeptRelease:
    """A release that an edge keeps, with the time that was counted since it was asked for."""

    digest: str
    signed: SignedRelease
    reckoning: Reckoning


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """What an edge's state tells: releases newest first, how much the centre has, and what is wrong, by what it is."""

    releases: tuple[KeptRelease, ...]
    mark: Mark
    acknowledged: int
    problems: Mapping[str, str]


class FeedStore(Protocol):
    """At the edge: what the centre released to it, durably. Nothing that is read is believed before it is verified."""

    async def releases(self) -> list[KeptRelease]:
        """Return what was kept, the newest release first."""
        ...

    async def mark(self) -> Mark:
        """Return the highest counter that was ever accepted, and of which bundle; 0 before that."""
        ...

    async def keep(self, kept: KeptRelease, mark: Mark) -> None:
        """Keep a release in place of an earlier one of the same bundle, and move the mark, both or neither."""
        ...

    async def note(self, digest: str, reckoning: Reckoning) -> None:
        """Keep how much time was counted since a bundle was confirmed."""
        ...

    async def acknowledge(self, head: LogHead) -> None:
        """Keep what the centre acknowledged of the log."""
        ...

    async def tell(self, about: str, problem: str) -> None:
        """Keep what is wrong with something, for people who look; an empty text takes it back."""
        ...


class BundleShelf(Protocol):
    """At the edge: archives of bundles that the centre released."""

    async def put(self, release: Release, archive: bytes) -> Bundle:
        """Keep an archive and return its bundle.

        Raises:
            BundleRejectedError: it is not the one that ``release`` names.
        """
        ...

    async def get(self, release: Release) -> Bundle | None:
        """Return the bundle that ``release`` names, if its archive is there and sound."""
        ...
