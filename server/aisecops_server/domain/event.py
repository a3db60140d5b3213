"""Facts of the audit log. An event's ``body`` is canonical JSON and is hashed, stored and shown as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from aisecops_server.domain.canonical import JsonValue, canonical_bytes

EventId = NewType("EventId", str)

SCHEMA_VERSION = 1


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
    those about texts that were screened.
    """

    id: EventId
    trace_id: str
    plan_id: str
    decision_id: str
    stage: Stage
    type: str
    occurred_at_ns: int
    body: bytes


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
    """Return an event whose body carries its identifiers and ``details``, in canonical JSON."""
    body: dict[str, JsonValue] = {
        "schema_version": SCHEMA_VERSION,
        "event_id": id,
        "trace_id": trace_id,
        "plan_id": plan_id,
        "decision_id": decision_id,
        "stage": stage.value,
        "type": type,
        # Nanoseconds exceed the integers that JSON readers keep exactly.
        "occurred_at_micros": occurred_at_ns // 1000,
        "details": details,
    }
    return Event(id, trace_id, plan_id, decision_id, stage, type, occurred_at_ns, canonical_bytes(body))
