"""At the centre: records what edges recorded, each event exactly once, in the order of the edge's log, without gaps.

Ordering rules: the edge is registered by the live policy; a batch begins where the last one ended; the tree that the
centre has grown so far, grown by the batch, must have the root that the edge signed. Events and how far the edge is
reconciled are stored in one transaction, and only then is the batch acknowledged. Whatever is lost on the way,
on either side, is sent again from what is acknowledged; whatever does not continue that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aisecops_server.domain.edges.edge import EdgeId, EdgeRegistration, registered, registrations
from aisecops_server.domain.errors import ContendedError, IntegrityError, InvalidRequestError, RecordsRefusedError
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.formats.signed_note import KeyKind, NoteKey, Verify, opened, read_key, read_note
from aisecops_server.domain.grants.incident import Incident, IncidentKind
from aisecops_server.domain.log.checkpoint import Checkpoint, read_checkpoint
from aisecops_server.domain.log.edge_log import (
    EdgeEvent,
    EdgeLog,
    EnrolEdge,
    RecordEdgeEvents,
    enrolled_event,
    recorded_events,
)
from aisecops_server.domain.log.grant_keys import GRACE_SECONDS, OF_EDGE, ROTATED, rotated_at_edge_event
from aisecops_server.domain.log.key_rotation import KeyChain, Rotation, read_rotation
from aisecops_server.domain.log.merkle import Frontier, leaf_hash
from aisecops_server.domain.log.record import ChangeRecord, LogHead
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.edges import EdgeStore
from aisecops_server.ports.grants import GrantKeyLog
from aisecops_server.usecases.grants.raise_incident import Observed, RaiseIncident

_KEY_CHARACTERS = 1024
_KEY_SET_BYTES = 16 * 1024
_SECOND = 1_000_000_000
KeySetOf = Callable[[bytes, Sequence[tuple[bytes, int]]], bytes]
Tables = Callable[[], Mapping[str, JsonValue]]


class ReconciledLog(EventLog, GrantKeyLog, Protocol):
    """The centre's log, with what it tells of the keys of edges."""


@dataclass(frozen=True, slots=True)
class ReceivedBatch:
    """A batch as it arrived, its events read. ``checkpoint`` is the edge's signed note."""

    start: int
    events: tuple[EdgeEvent, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class KnownEdge:
    """An edge as the live policy and the log know it; one of the two may not.

    ``grant_keys`` verify its grants by now, as a JWKS document.
    """

    edge_id: EdgeId
    registration: EdgeRegistration | None
    log: EdgeLog | None
    grant_keys: bytes = b""


@dataclass(frozen=True, slots=True)
class ReconcileEdges:
    """Takes in what edges recorded. ``tables`` returns those of the live revision, ``key_set_of`` a JWKS document."""

    log: ReconciledLog
    store: EdgeStore
    tables: Tables
    verify: Verify
    clock: Clock
    ids: Ids
    incidents: RaiseIncident
    key_set_of: KeySetOf

    async def enrol(self, edge_id: str, log_key: str, grant_keys: bytes) -> LogHead:
        """Keep the keys of an edge, or see that they are those that it has; return what is recorded of its log.

        An edge is known by the first keys that its log had. That they were replaced stands in its log, and is learned
        from there.

        Raises:
            NotPermittedError: the live policy does not register the edge.
            InvalidRequestError: a key is none.
            RecordsRefusedError: the edge has other keys.
        """
        _require_log_key(log_key)
        if not grant_keys.isascii() or len(grant_keys) > _KEY_SET_BYTES:
            raise InvalidRequestError("grant_keys: not a JWKS document of at most 16 KiB", field="grant_keys")
        registered(self.tables(), edge_id)
        known = await self.store.edge(edge_id)
        if known is None:
            edge = EdgeLog(EdgeId(edge_id), log_key, grant_keys, enrolled_at_ns=self.clock.now_ns())
            event = enrolled_event(edge, id=self.ids.event_id())
            try:
                await self.log.append_change(ChangeRecord((event,), (EnrolEdge(edge),)))
            except ContendedError:
                return await self.enrol(edge_id, log_key, grant_keys)
            return edge.head()
        if (known.log_key, known.grant_keys) != (log_key, grant_keys):
            await self._rewritten(known, {"why": "other keys", "log_key": log_key})
            raise RecordsRefusedError(
                f"the edge {edge_id} is known by other keys",
                hint="An edge whose state was lost is a new one: register it under an id of its own",
                why="other_keys",
            )
        return known.head()

    async def __call__(self, edge_id: str, batch: ReceivedBatch) -> LogHead:
        """Record a batch and return what is recorded by then, on durable storage.

        Raises:
            NotPermittedError: the live policy does not register the edge.
            RecordsRefusedError: the batch does not continue what is recorded.
            LogUnavailableError: it could not be recorded.
        """
        registration = registered(self.tables(), edge_id)
        known = await self.store.edge(edge_id)
        if known is None:
            raise RecordsRefusedError("the edge has not enrolled", hint="Enrol first", why="unknown")
        _require_next(known, batch)
        grown = known.frontier()
        for event in batch.events:
            grown.append(leaf_hash(event.body))
        await self._require_signed(known, batch, grown)
        now = self.clock.now_ns()
        change = RecordEdgeEvents(
            known.edge_id,
            seen=known.size,
            size=grown.size,
            peaks=grown.peaks,
            at_ns=now,
        )
        told = recorded_events(known.edge_id, batch.events, next_id=self.ids.event_id, now_ns=now)
        foreign = self._foreign(registration, batch.events, now)
        turned = await self._rotated(known, batch.events, now)
        await self.log.append_change(ChangeRecord((*told, *foreign, *turned), (change,)))
        return LogHead(grown.size, grown.root())

    async def known(self) -> list[KnownEdge]:
        """Return the edges that the live policy registers or that have enrolled, by id."""
        registered_by_id = {found.id: found for found in registrations(self.tables())}
        logs = {found.edge_id: found for found in await self.store.edges()}
        chains = await self._chains()
        return [
            KnownEdge(name, registered_by_id.get(name), log, self._key_set(log, chains.get(name)) if log else b"")
            for name, log in ((name, logs.get(name)) for name in sorted(registered_by_id.keys() | logs.keys()))
        ]

    async def _require_signed(self, known: EdgeLog, batch: ReceivedBatch, grown: Frontier) -> None:
        key = read_key(known.log_key)
        expected = Checkpoint(key.name, LogHead(grown.size, grown.root()))
        try:
            note = read_note(batch.checkpoint)
            is_signed = key.name in opened(note, [key], self.verify)
            said = read_checkpoint(note.text)
        except IntegrityError as error:
            raise RecordsRefusedError(
                f"the batch's checkpoint does not verify: {error.message}", why="checkpoint"
            ) from error
        if not is_signed or said.origin != key.name or said.head.size != grown.size:
            raise RecordsRefusedError(
                "the batch's checkpoint is not the edge's own of the log with its last event",
                hint="Sign the head with exactly the events that are sent",
                why="checkpoint",
            )
        if said != expected:
            # The edge has signed a tree that the one it sent before is not the beginning of.
            await self._rewritten(known, {"why": "other root", "size": grown.size, "signed_root": said.head.root.hex()})
            raise RecordsRefusedError(
                f"the edge's log does not continue the {known.size} events that are recorded of it",
                hint="Keep the edge's state as evidence; a rewritten log is not reconciled",
                why="fork",
            )

    async def _rotated(self, known: EdgeLog, events: Sequence[EdgeEvent], now_ns: int) -> list[Event]:
        """Return what the centre learns from ``events`` of the key that signs the edge's grants.

        A rotation that its own keys do not prove is kept like everything that an edge recorded, and is an incident.
        """
        told: list[Event] = []
        rotations = [event for event in events if event.type == ROTATED]
        chain = (await self._chains()).get(known.edge_id, KeyChain()) if rotations else KeyChain()
        for event in rotations:
            try:
                signed = read_rotation(event.details, self.verify)
                self._require_known(known, chain, signed.rotation)
                chain = chain.followed(signed.rotation, index=event.index)
            except IntegrityError as error:
                facts: dict[str, JsonValue] = {"edge": known.edge_id, "edge_index": event.index, "why": error.message}
                incident = Incident(IncidentKind.EDGE_HISTORY_REWRITTEN, facts)
                told.append(self.incidents.of_call(incident, Observed(""), by=known.edge_id, now_ns=now_ns))
            else:
                told.append(
                    rotated_at_edge_event(
                        known.edge_id, signed, index=event.index, id=self.ids.event_id(), now_ns=now_ns
                    )
                )
        return told

    def _require_known(self, known: EdgeLog, chain: KeyChain, rotation: Rotation) -> None:
        if chain.current is None and self.key_set_of(rotation.old, ()) != known.grant_keys:
            raise IntegrityError("a key was replaced that the edge did not have")

    async def _chains(self) -> dict[str, KeyChain]:
        """Return of each edge whose key of grants was replaced the keys that it had."""
        chains: dict[str, KeyChain] = {}
        for stored in await self.log.grant_key_events():
            if stored.event.type == OF_EDGE:
                details = stored.event.details()
                # The centre's own word, which it gave when it had verified both signatures.
                rotation = read_rotation(details, _as_recorded).rotation
                chain = chains.get(str(details["edge"]), KeyChain())
                chains[str(details["edge"])] = chain.followed(rotation, index=int(details["edge_index"]))
        return chains

    def _key_set(self, known: EdgeLog, chain: KeyChain | None) -> bytes:
        if chain is None or chain.current is None:
            return known.grant_keys
        now = self.clock.now_ns() // _SECOND
        counting = [key for key in chain.counting if now < key.ended_at_seconds + GRACE_SECONDS]
        return self.key_set_of(chain.current, [(key.public, key.ended_at_seconds) for key in reversed(counting)])

    async def _rewritten(self, known: EdgeLog, facts: Mapping[str, JsonValue]) -> None:
        incident = Incident(IncidentKind.EDGE_HISTORY_REWRITTEN, {"edge": known.edge_id, **facts})
        event = self.incidents.of_call(incident, Observed(""), by=known.edge_id, now_ns=self.clock.now_ns())
        await self.incidents.store(event)

    def _foreign(self, edge: EdgeRegistration, events: Sequence[EdgeEvent], now_ns: int) -> tuple[Event, ...]:
        """Return the incidents of agents for whom the edge may not decide; what it recorded of them is kept as well."""
        return tuple(
            self.incidents.of_call(
                Incident(IncidentKind.EDGE_FOREIGN_AGENT, {"edge": edge.id, "edge_index": event.index}),
                Observed(
                    event.allowed_agent,
                    trace_id=str(event.content["trace_id"]),
                    plan_id=str(event.content["plan_id"]),
                    decision_id=str(event.content["decision_id"]),
                ),
                by=edge.id,
                now_ns=now_ns,
            )
            for event in events
            if event.allowed_agent and event.allowed_agent not in edge.agents
        )


def _as_recorded(_public: bytes, _message: bytes, _signature: bytes) -> bool:
    return True


def _require_next(known: EdgeLog, batch: ReceivedBatch) -> None:
    if not batch.events:
        raise RecordsRefusedError("the batch has no events", why="malformed")
    if batch.start == known.size:
        return
    why = "gap" if batch.start > known.size else "duplicate"
    raise RecordsRefusedError(
        f"the batch begins at event {batch.start}, and the next one is {known.size}",
        hint="Go on where the centre says that it is",
        why=why,
        expected=str(known.size),
    )


def _require_log_key(text: str) -> NoteKey:
    try:
        key = read_key(text) if len(text) <= _KEY_CHARACTERS else None
    except IntegrityError:
        key = None
    if key is None or key.kind is not KeyKind.LOG:
        raise InvalidRequestError(
            "log_key: not the key of a log", hint="Send what 'aisecops log key' prints", field="log_key"
        )
    return key
