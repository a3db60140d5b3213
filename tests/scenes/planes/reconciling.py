"""Two real logs, an edge's and its centre's, and the way between them, which can be told to fail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.signing.grants import key_set_of
from aisecops_server.adapters.signing.keys import open_key, verifies_ed25519
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.adapters.sqlite.feed_store import SqliteFeedStore
from aisecops_server.adapters.system import RandomIds
from aisecops_server.domain.bundles.release import SignedRelease
from aisecops_server.domain.errors import RepositoryUnavailableError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.edge_log import RECORDED, edge_event
from aisecops_server.domain.log.record import LogHead
from aisecops_server.ports.edges import Batch
from aisecops_server.usecases.edges.forward_log import ForwardLog
from aisecops_server.usecases.edges.reconcile_edges import ReceivedBatch, ReconcileEdges
from aisecops_server.usecases.grants.raise_incident import RaiseIncident
from aisecops_server.usecases.log.checkpoint import CheckpointKeys, origin_of

from tests.fakes.clock import FakeClock

EDGE, OTHER = "spiffe://corp.example/edge/shop-7", "spiffe://corp.example/edge/shop-8"
OPTIONS = LogOptions(minimum_free_bytes=0)
KEYS = b'{"keys":[]}'


def tables(*agents: str) -> dict[str, JsonValue]:
    """Return compiled tables that register two edges for ``agents``."""
    entry: dict[str, JsonValue] = {"owner": "retail", "max_age_seconds": 60, "agents": dict.fromkeys(agents, True)}
    return {"edges": {EDGE: entry, OTHER: entry}}


def received(batch: Batch) -> ReceivedBatch:
    """Return a batch as the centre reads it."""
    pieces = zip(batch.events, batch.payloads, strict=True)
    events = tuple(
        edge_event(at, body, json.loads(body), payload=payload)
        for at, (body, payload) in enumerate(pieces, batch.start)
    )
    return ReceivedBatch(batch.start, events, batch.checkpoint)


class Way:
    """Implements ``Centre`` by calling the centre's use cases."""

    def __init__(self, centre: ReconcileEdges, edge_id: str = EDGE) -> None:
        self.centre = centre
        self.edge_id = edge_id
        self.down = False
        self.lost_answers = 0
        self.sent: list[Batch] = []

    async def release(self, nonce: str) -> SignedRelease:
        raise AssertionError(f"nobody asks for policy here ({nonce})")

    async def archive(self, digest: str, *, limit: int) -> bytes:
        raise AssertionError(f"nobody asks for {digest} here ({limit})")

    async def enrol(self, log_key: str, grant_keys: bytes) -> LogHead:
        if self.down:
            raise RepositoryUnavailableError("the centre cannot be reached")
        return await self.centre.enrol(self.edge_id, log_key, grant_keys)

    async def reconcile(self, batch: Batch) -> LogHead:
        if self.down:
            raise RepositoryUnavailableError("the centre cannot be reached")
        self.sent.append(batch)
        head = await self.centre(self.edge_id, received(batch))
        if self.lost_answers:
            self.lost_answers -= 1
            raise RepositoryUnavailableError("the answer got lost")
        return head


@dataclass
class Pair:
    """An edge and its centre, open."""

    edge: SqliteEventLog
    centre: SqliteEventLog
    store: SqliteFeedStore
    keys: CheckpointKeys
    way: Way
    grant_keys: Callable[[], bytes] = lambda: KEYS

    @property
    def forward(self) -> ForwardLog:
        return ForwardLog(self.edge, self.edge, self.way, self.store, self.keys, self.grant_keys)

    async def bodies(self) -> list[bytes]:
        """Return the edge's events."""
        return [stored.event.body async for stored in self.edge.events(from_index=0, follow=False, trace_id="")]

    async def recorded(self) -> list[JsonValue]:
        """Return the edge's events as the centre has them, in the order of the centre's log."""
        found = [stored.event async for stored in self.centre.events(from_index=0, follow=False, trace_id="")]
        return [json.loads(event.body)["details"]["event"] for event in found if event.type == RECORDED]

    async def kinds(self) -> list[str]:
        """Return the types of the centre's events that are not the edge's."""
        found = [stored.event.type async for stored in self.centre.events(from_index=0, follow=False, trace_id="")]
        return [kind for kind in found if kind != RECORDED]

    async def batch(self, start: int, end: int) -> Batch:
        """Return a batch of the edge's events, signed by the edge."""
        events = [stored.event async for stored in self.edge.events(from_index=0, follow=False, trace_id="")][start:end]
        note = self.keys.signed(await self.edge.head_at(end)).written()
        return Batch(start, tuple(event.body for event in events), tuple(event.payload for event in events), note)


def centre_over(log: SqliteEventLog, *agents: str) -> ReconcileEdges:
    """Return what takes in edges' records."""
    clock, ids = FakeClock(), RandomIds()
    held = tables(*(agents or ("agent-a",)))
    incidents = RaiseIncident(log, clock, ids)
    return ReconcileEdges(log, log.edges, lambda: held, verifies_ed25519, clock, ids, incidents, key_set_of)


@asynccontextmanager
async def pair(root: Path, *agents: str) -> AsyncIterator[Pair]:
    """Open both while the block runs; what is in ``root`` already is taken up."""
    edge, centre = open_log(root / "edge" / "audit.db", OPTIONS), open_log(root / "centre" / "audit.db", OPTIONS)
    store = SqliteFeedStore(root / "edge" / "edge.db")
    try:
        origin = origin_of(await edge.identity())
        keys = CheckpointKeys(origin, open_key(root / "edge" / "keys", "log"))
        yield Pair(edge, centre, store, keys, Way(centre_over(centre, *agents)))
    finally:
        store.close()
        await edge.close()
        await centre.close()
