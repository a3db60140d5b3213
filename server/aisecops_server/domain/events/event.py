"""Facts of the audit log. An event's ``body`` is canonical JSON and is hashed, stored and shown as it is.

What may have to be erased one day stands beside the body, as its ``payload``; the body commits to it (``payload.py``).
Events of version 1 have none, and all that they say is in their body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NewType

import orjson

from aisecops_server.domain.events.payload import SALT_BYTES, blanked, commitment, divided, joined
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes

EventId = NewType("EventId", str)

SCHEMA_VERSION = 1
PAYLOAD_VERSION = 2
# The type of the event that concludes a decision and carries all of it.
CONCLUDED = "decision.concluded"


class Stage(StrEnum):
    """Where in a decision's life an event happened, in the order of a timeline."""

    PLAN_EXTRACTION = "plan_extraction"
    IDENTITY = "identity"
    CAPABILITY = "capability"
    POLICY = "policy"
    MCP = "mcp"
    BUDGET = "budget"
    RUNTIME_CONTROL = "runtime_control"
    APPROVAL = "approval"
    EXECUTION = "execution"
    OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class Event:
    """One append-only fact, before the log gives it an index.

    ``trace_id`` and ``decision_id`` are empty only for events about the control plane itself, ``plan_id`` also for
    those about texts that were screened. ``payload`` is empty where there is none, and where it was erased.
    """

    id: EventId
    trace_id: str
    plan_id: str
    decision_id: str
    stage: Stage
    type: str
    occurred_at_ns: int
    body: bytes
    payload: bytes = b""

    def details(self) -> dict[str, Any]:
        """Return what the event tells, payload and all; where that was erased, nothing stands in its place."""
        return details_in(self.type, self.body, self.payload)

    @property
    def is_erased(self) -> bool:
        """Return whether it had a payload that is not there any more."""
        return not self.payload and b',"payload":"' in self.body and "payload" in orjson.loads(self.body)

    def salted(self, salt: bytes) -> Event:
        """Return the event with its payload behind ``salt``, to which its body commits."""
        if not self.payload:
            return self
        payload = salt + self.payload[SALT_BYTES:]
        old, new = _mark(commitment(self.payload)), _mark(commitment(payload))
        # Behind it stand only identifiers, a stage and a type, so the last one is the body's own.
        before, _, behind = self.body.rpartition(old)
        return replace(self, body=before + new + behind, payload=payload)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its place in the log: leaf ``index`` from 0 without gaps, and its RFC 6962 leaf hash."""

    event: Event
    index: int
    leaf_hash: bytes


def make_event(
    *,
    id: EventId,
    trace_id: str,
    plan_id: str,
    decision_id: str,
    stage: Stage,
    type: str,
    occurred_at_ns: int,
    details: Mapping[str, JsonValue],
) -> Event:
    """Return an event whose body carries its identifiers and ``details``, in canonical JSON, its payload beside it."""
    public, payload = divided(type, details)
    body: dict[str, JsonValue] = {
        "schema_version": PAYLOAD_VERSION if payload else SCHEMA_VERSION,
        "event_id": id,
        "trace_id": trace_id,
        "plan_id": plan_id,
        "decision_id": decision_id,
        "stage": stage.value,
        "type": type,
        # Nanoseconds exceed the integers that JSON readers keep exactly.
        "occurred_at_micros": occurred_at_ns // 1000,
        "details": public,
        **({"payload": commitment(payload)} if payload else {}),
    }
    return Event(id, trace_id, plan_id, decision_id, stage, type, occurred_at_ns, canonical_bytes(body), payload)


def control_event(
    type: str,
    details: Mapping[str, JsonValue],
    *,
    id: EventId,
    now_ns: int,
    stage: Stage = Stage.RUNTIME_CONTROL,
) -> Event:
    """Return an event about the control plane itself: it belongs to no trace, no plan and no decision."""
    return make_event(
        id=id,
        trace_id="",
        plan_id="",
        decision_id="",
        stage=stage,
        type=type,
        occurred_at_ns=now_ns,
        details=details,
    )


def details_in(type: str, body: bytes, payload: bytes | None) -> dict[str, Any]:
    """Return what an event of ``type`` tells; where its payload was erased, nothing stands in its place."""
    read: dict[str, Any] = orjson.loads(body)
    details: dict[str, Any] = read["details"]
    if payload:
        return joined(details, orjson.loads(payload[SALT_BYTES:]))
    return blanked(type, details) if "payload" in read else details


def public_details(body: bytes) -> dict[str, Any]:
    """Return what an event tells without its payload, which cannot be erased."""
    details: dict[str, Any] = orjson.loads(body)["details"]
    return details


def commits_to(body: bytes, payload: bytes) -> bool:
    """Return whether ``body`` is that of the event whose payload this is."""
    _, mark, behind = body.rpartition(_mark(commitment(payload)))
    # A mark in the details is somebody's word and has the event's id behind it.
    return bool(mark) and b'"event_id":' not in behind


def _mark(committed: str) -> bytes:
    return f'"payload":"{committed}"'.encode()
