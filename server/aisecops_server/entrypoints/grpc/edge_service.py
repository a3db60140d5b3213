"""EdgeService: what edges need of their centre. An edge is who its credential proves, never what a message says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from aisecops.v1 import edge_pb2
from aisecops.v1 import edge_service_pb2 as api

from aisecops_server.domain.errors import RecordsRefusedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.edge_log import EdgeEvent, edge_event
from aisecops_server.domain.log.record import LogHead
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.entrypoints.grpc.methods import Gate, read_message
from aisecops_server.usecases.edges.reconcile_edges import KnownEdge, ReceivedBatch, ReconcileEdges
from aisecops_server.usecases.edges.release_bundle import ReleaseBundles

_PART_BYTES = 1024 * 1024
_BATCH_BYTES = 16 * 1024 * 1024
_BATCH_EVENTS = 1024


@dataclass(frozen=True, slots=True)
class EdgeUseCases:
    """What edges ask of their centre."""

    releases: ReleaseBundles
    reconcile: ReconcileEdges


@dataclass(frozen=True, slots=True)
class EdgeService:
    """The handlers of ``aisecops.v1.EdgeService``."""

    edges: EdgeUseCases
    gate: Gate

    async def release(self, request: bytes, caller: Caller) -> api.GetReleaseResponse:
        """Answer GetRelease."""
        asked = read_message(api.GetReleaseRequest, request)
        signed = await self.edges.releases.release(caller.principal.id, asked.nonce)
        return api.GetReleaseResponse(release=signed.body, signature=signed.signature)

    async def bundle(self, request: bytes, caller: Caller) -> AsyncIterator[api.GetBundleResponse]:
        """Answer GetBundle."""
        asked = read_message(api.GetBundleRequest, request)
        content = await self.edges.releases.archive(caller.principal.id, asked.digest)
        for at in range(0, len(content), _PART_BYTES):
            yield api.GetBundleResponse(content=content[at : at + _PART_BYTES])

    async def enrol(self, request: bytes, caller: Caller) -> api.EnrolResponse:
        """Answer Enrol."""
        asked = read_message(api.EnrolRequest, request)
        head = await self.edges.reconcile.enrol(caller.principal.id, asked.log_key, asked.grant_keys)
        return api.EnrolResponse(reconciled=_head(head))

    async def reconcile(self, requests: AsyncIterator[bytes], caller: Caller) -> AsyncIterator[api.ReconcileResponse]:
        """Answer Reconcile."""
        batch = _Parts()
        async for request in requests:
            self.gate.still(caller)
            if batch.add(read_message(api.ReconcileRequest, request)):
                head = await self.edges.reconcile(caller.principal.id, batch.whole())
                batch = _Parts()
                yield api.ReconcileResponse(reconciled=_head(head))

    async def list_edges(self, request: bytes, _caller: Caller) -> api.ListEdgesResponse:
        """Answer ListEdges."""
        read_message(api.ListEdgesRequest, request)
        return api.ListEdgesResponse(edges=[_edge(edge) for edge in await self.edges.reconcile.known()])


@dataclass(slots=True)
class _Parts:
    """The parts of a batch that have arrived."""

    start: int | None = None
    size: int = 0
    events: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    checkpoint: str = ""

    def add(self, part: api.ReconcileRequest) -> bool:
        """Take a part in; return whether the batch is whole.

        Raises:
            RecordsRefusedError: it belongs to another batch, or the batch is too large.
        """
        if self.start not in (None, part.start):
            raise RecordsRefusedError("the parts of a batch name different beginnings", why="malformed")
        self.start, self.checkpoint = part.start, part.checkpoint
        self.events += part.events
        self.payloads += part.payloads
        if len(self.payloads) != len(self.events):
            raise RecordsRefusedError("there is not one payload for each event", why="malformed")
        self.size += sum(map(len, part.events)) + sum(map(len, part.payloads))
        if self.size > _BATCH_BYTES or len(self.events) > _BATCH_EVENTS:
            raise RecordsRefusedError(
                f"a batch is larger than {_BATCH_BYTES} bytes or {_BATCH_EVENTS} events",
                hint="Send fewer events in one batch",
                why="too_large",
            )
        return bool(self.checkpoint)

    def whole(self) -> ReceivedBatch:
        """Return the batch.

        Raises:
            RecordsRefusedError: an event is none.
        """
        return ReceivedBatch(self.start or 0, tuple(self._read()), self.checkpoint)

    def _read(self) -> Iterator[EdgeEvent]:
        for index, (body, payload) in enumerate(zip(self.events, self.payloads, strict=True), self.start or 0):
            yield edge_event(index, body, _content(body), payload=payload)


def _content(body: bytes) -> JsonValue:
    # Whatever is unusual in it does not come out again as the same bytes, and is refused for that.
    try:
        found: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found


def _head(head: LogHead) -> edge_pb2.LogHead:
    return edge_pb2.LogHead(size=head.size, root=head.root)


def _edge(edge: KnownEdge) -> edge_pb2.Edge:
    registration, log = edge.registration, edge.log
    message = edge_pb2.Edge(edge_id=edge.edge_id, registered=registration is not None)
    if registration is not None:
        message.owner = registration.owner
        message.agents.extend(sorted(registration.agents))
        message.max_age_seconds = registration.max_age_seconds
    if log is not None:
        message.reconciled.CopyFrom(_head(log.head()))
        message.log_key, message.grant_keys = log.log_key, edge.grant_keys
        message.enrolled_at.CopyFrom(timestamp(log.enrolled_at_ns))
        if log.reconciled_at_ns:
            message.reconciled_at.CopyFrom(timestamp(log.reconciled_at_ns))
    return message
