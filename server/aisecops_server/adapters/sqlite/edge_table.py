"""At the centre: how far each edge is reconciled, and what was released last.

The writer's thread alone uses ``EdgeTable``; ``SqliteEdges`` reads beside it. Everything here is told by events, and
``check_edges`` recomputes it from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import apsw
import orjson

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.bundles.bundle import BundleDigest, CommitId
from aisecops_server.domain.bundles.release import LastRelease
from aisecops_server.domain.edges.edge import EdgeId
from aisecops_server.domain.errors import AisecopsError, ContendedError, IntegrityError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.log.edge_log import (
    ENROLLED,
    RECORDED,
    RELEASED,
    EdgeLog,
    EnrolEdge,
    RecordEdgeEvents,
    ReleaseBundle,
)
from aisecops_server.domain.log.merkle import HASH_BYTES, Frontier, leaf_hash

_EDGES = "SELECT edge_id, log_key, grant_keys, enrolled_at, reconciled_at, size, peaks FROM edge"
_RELEASED = "SELECT counter, revision, digest FROM edge_release"
_EVENTS = """
    SELECT idx, type, occurred_at, body FROM event
    WHERE type IN ('bundle.released', 'edge.enrolled', 'edge.recorded') AND idx >= ? ORDER BY idx LIMIT 1024"""


class EdgeTable:
    """Implements ``StateTable`` for edges."""

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change."""
        match change:
            case EnrolEdge():
                return _enrol(connection, change.edge)
            case RecordEdgeEvents():
                return _record(connection, change)
            case ReleaseBundle():
                return _release(connection, change)
            case _:
                return IntegrityError("this is no change of an edge")

    def committed(self) -> None:
        """Keep nothing in memory."""

    def forget(self) -> None:
        """Keep nothing in memory."""


class SqliteEdges:
    """Implements ``EdgeStore``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def edge(self, edge_id: str) -> EdgeLog | None:
        """Return one edge, or ``None`` before it enrolled."""
        row = await self._readers.run(
            lambda connection: connection.execute(f"{_EDGES} WHERE edge_id = ?", (edge_id,)).get
        )
        return None if row is None else _edge(row)

    async def edges(self) -> list[EdgeLog]:
        """Return the edges that have enrolled, by id."""
        rows = await self._readers.run(lambda connection: connection.execute(f"{_EDGES} ORDER BY edge_id").fetchall())
        return [_edge(row) for row in rows]

    async def released(self) -> LastRelease | None:
        """Return what was released last, or ``None`` before the first release."""
        row = await self._readers.run(lambda connection: connection.execute(_RELEASED).get)
        return None if row is None else LastRelease(row[0], CommitId(row[1]), BundleDigest(row[2]))


def _enrol(connection: apsw.Connection, edge: EdgeLog) -> ContendedError | None:
    row = (edge.edge_id, edge.log_key, edge.grant_keys, _micros(edge.enrolled_at_ns))
    connection.execute("INSERT OR IGNORE INTO edge VALUES (?, ?, ?, ?, 0, 0, x'')", row)
    return None if connection.changes() else ContendedError("the edge enrolled meanwhile", hint="Enrol again")


def _record(connection: apsw.Connection, change: RecordEdgeEvents) -> ContendedError | None:
    connection.execute(
        "UPDATE edge SET size = ?, peaks = ?, reconciled_at = ? WHERE edge_id = ? AND size = ?",
        (change.size, b"".join(change.peaks), _micros(change.at_ns), change.edge_id, change.seen),
    )
    if not connection.changes():
        return ContendedError(
            "the edge was reconciled further meanwhile", hint="Go on where the centre says that it is"
        )
    return None


def _release(connection: apsw.Connection, change: ReleaseBundle) -> ContendedError | None:
    release, seen = change.release, connection.execute("SELECT counter FROM edge_release").get or 0
    if seen != change.seen:
        return ContendedError("another bundle was released meanwhile", hint="Ask again")
    row = (release.counter, release.revision, release.digest)
    connection.execute("INSERT OR REPLACE INTO edge_release VALUES (1, ?, ?, ?)", row)
    return None


def _edge(row: Row) -> EdgeLog:
    edge_id, log_key, grant_keys, enrolled_at, reconciled_at, size, peaks = row
    parts = tuple(peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES))
    return EdgeLog(EdgeId(edge_id), log_key, grant_keys, enrolled_at, reconciled_at, size, parts)


def _micros(at_ns: int) -> int:
    # As events keep times, so that these can be recomputed from them.
    return at_ns // 1000 * 1000


@dataclass(slots=True)
class _Retold:
    """An edge as the events tell of it."""

    log_key: str
    grant_keys: bytes
    enrolled_at: int
    reconciled_at: int = 0
    frontier: Frontier = field(default_factory=Frontier)

    def row(self, edge_id: str) -> Row:
        """Return the row that it must have."""
        facts = (self.enrolled_at, self.reconciled_at, self.frontier.size, b"".join(self.frontier.peaks))
        return (edge_id, self.log_key, self.grant_keys, *facts)


def check_edges(connection: apsw.Connection) -> None:
    """Compare what is kept of edges with the events that tell of them.

    Raises:
        Fault: the first thing that does not agree.
    """
    with connection:
        edges, released = _retold(connection)
        rows = {row[0]: row for row in connection.execute(_EDGES)}
        for edge_id in sorted(rows.keys() | edges.keys()):
            if edge_id not in edges or rows.get(edge_id) != edges[edge_id].row(edge_id):
                raise Fault(None, f"what is kept of the edge {edge_id} is not what the log says")
        if connection.execute(_RELEASED).get != released:
            raise Fault(None, "what was released last is not what the log says")


def _retold(connection: apsw.Connection) -> tuple[dict[str, _Retold], Row | None]:
    edges: dict[str, _Retold] = {}
    released: Row | None = None
    following = 0
    rows: list[Row]
    while rows := connection.execute(_EVENTS, (following,)).fetchall():
        for index, kind, at, body in rows:
            details = orjson.loads(body)["details"]
            if kind == RELEASED:
                released = (details["counter"], details["revision"], details["digest"])
            elif kind == ENROLLED:
                keys = details["grant_keys"].encode()
                edges[details["edge"]] = _Retold(details["log_key"], keys, enrolled_at=at)
            elif kind == RECORDED:
                _recount(edges, (index, at), details)
        following = rows[-1][0] + 1
    return edges, released


def _recount(edges: dict[str, _Retold], place: tuple[int, int], details: Mapping[str, Any]) -> None:
    index, at = place
    edge = edges.get(details["edge"])
    leaf = leaf_hash(canonical_bytes(details["event"]))
    if edge is None or (details["edge_index"], details["edge_leaf_sha256"]) != (edge.frontier.size, leaf.hex()):
        raise Fault(index, f"event {index} does not continue what its edge recorded before")
    edge.frontier.append(leaf)
    edge.reconciled_at = at
