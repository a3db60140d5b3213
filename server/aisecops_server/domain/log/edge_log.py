"""What the centre keeps of an edge's log: how far it has it, by which key it is verified, and every event of it.

The centre grows the same Merkle tree as the edge. An event is taken only at the index that comes next, and only when
the tree with it has the root that the edge signed, so that nothing can be left out, sent twice or changed afterwards.
What an edge recorded is its word and not the centre's: it stands in the centre's log as an event of a kind of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from aisecops_server.domain.bundles.release import LastRelease
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.edges.edge import EdgeId
from aisecops_server.domain.errors import RecordsRefusedError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import CONCLUDED, Event, EventId, Stage, commits_to, control_event, make_event
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes
from aisecops_server.domain.log.merkle import Frontier, leaf_hash
from aisecops_server.domain.log.record import LogHead

KIND = "edge"
ENROLLED = "edge.enrolled"
RECORDED = "edge.recorded"
RELEASED = "bundle.released"
_TEXTS = ("event_id", "trace_id", "plan_id", "decision_id", "stage", "type")


@dataclass(frozen=True, slots=True)
class EdgeLog:
    """The log of one edge, as far as the centre has it. ``reconciled_at_ns`` is 0 before the first event."""

    edge_id: EdgeId
    log_key: str
    grant_keys: bytes
    enrolled_at_ns: int
    reconciled_at_ns: int = 0
    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def frontier(self) -> Frontier:
        """Return the right edge of the tree, to go on with."""
        return Frontier(self.size, self.peaks)

    def head(self) -> LogHead:
        """Return the size and root."""
        return LogHead(self.size, self.frontier().root())


@dataclass(frozen=True, slots=True)
class EnrolEdge(Change):
    """Keep the keys of an edge that has none yet."""

    kind: ClassVar[str] = KIND
    edge: EdgeLog


@dataclass(frozen=True, slots=True)
class RecordEdgeEvents(Change):
    """Continue the log of an edge from the size that was ``seen``."""

    kind: ClassVar[str] = KIND
    edge_id: EdgeId
    seen: int
    size: int
    peaks: tuple[bytes, ...]
    at_ns: int


@dataclass(frozen=True, slots=True)
class ReleaseBundle(Change):
    """Release another bundle than the one whose counter was ``seen`` (0: none was released yet)."""

    kind: ClassVar[str] = KIND
    seen: int
    release: LastRelease


@dataclass(frozen=True, slots=True)
class EdgeEvent:
    """One event of an edge's log: its index and body there, the body's content, and the payload if there is one."""

    index: int
    body: bytes
    content: Mapping[str, JsonValue]
    payload: bytes = b""

    @property
    def type(self) -> str:
        """Return the type that the edge gave it."""
        return str(self.content["type"])

    @property
    def details(self) -> Mapping[str, JsonValue]:
        """Return its details."""
        details = self.content.get("details")
        return details if isinstance(details, Mapping) else {}

    @property
    def allowed_agent(self) -> str:
        """Return the agent that was allowed something, if the event says so."""
        principal = self.details.get("principal")
        allowed = self.type == CONCLUDED and self.details.get("outcome") == Outcome.ALLOW.value
        return str(principal.get("id", "")) if allowed and isinstance(principal, Mapping) else ""


def edge_event(index: int, body: bytes, content: JsonValue, *, payload: bytes = b"") -> EdgeEvent:
    """Return the event that ``body`` is, which was read as ``content``.

    Raises:
        RecordsRefusedError: it is no event in canonical form, which alone two readers read alike, or the payload is not
            the one that it commits to.
    """
    try:
        is_canonical = isinstance(content, Mapping) and canonical_bytes(content) == body
    except ValueError:
        is_canonical = False
    if (
        not is_canonical
        or not isinstance(content, Mapping)
        or not all(isinstance(content.get(name), str) for name in _TEXTS)
        or content["stage"] not in set(Stage)
    ):
        raise RecordsRefusedError(
            f"event {index} is none in canonical form",
            hint="Send the events exactly as they stand in the log",
            why="malformed",
            index=str(index),
        )
    if payload and not commits_to(body, payload):
        raise RecordsRefusedError(
            f"the payload of event {index} is not the one that it commits to", why="payload", index=str(index)
        )
    return EdgeEvent(index, body, content, payload)


def enrolled_event(edge: EdgeLog, *, id: EventId) -> Event:
    """Return the event that tells which keys an edge has."""
    return control_event(
        ENROLLED,
        {"edge": edge.edge_id, "log_key": edge.log_key, "grant_keys": edge.grant_keys.decode()},
        id=id,
        now_ns=edge.enrolled_at_ns,
    )


def released_event(release: LastRelease, *, id: EventId, now_ns: int) -> Event:
    """Return the event that tells that edges get another bundle from now on."""
    details: Mapping[str, JsonValue] = {
        "counter": release.counter,
        "revision": release.revision,
        "digest": release.digest,
    }
    return control_event(RELEASED, details, id=id, now_ns=now_ns)


def recorded_events(
    edge_id: EdgeId, events: Sequence[EdgeEvent], *, next_id: Callable[[], EventId], now_ns: int
) -> tuple[Event, ...]:
    """Return the events that hold what an edge recorded, under the trace and the stage that it says."""
    return tuple(
        make_event(
            id=next_id(),
            trace_id=str(event.content["trace_id"]),
            plan_id=str(event.content["plan_id"]),
            decision_id=str(event.content["decision_id"]),
            stage=Stage(str(event.content["stage"])),
            type=RECORDED,
            occurred_at_ns=now_ns,
            details={
                "edge": edge_id,
                "edge_index": event.index,
                "edge_leaf_sha256": leaf_hash(event.body).hex(),
                "event": event.content,
                **({"payload": base64.b64encode(event.payload).decode("ascii")} if event.payload else {}),
            },
        )
        for event in events
    )
