"""What the audit log stores and gives back: records, receipts, traces, and the filters to find them.

A ``DecisionRecord`` is one unit: its events, its document, its index entries and its changes of state are stored
together or not at all. Whatever is appended is on durable storage when ``append`` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aisecops_server.domain.decisions.decision import Decision, DecisionId
from aisecops_server.domain.errors import IdempotencyConflictError, NotFoundError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.events.event import Event, EventId, StoredEvent
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.trace_match import NumberMatch, WordMatch


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A retry key. It is scoped to the principal; ``request_digest`` tells a retry from another plan."""

    principal_id: str
    key: str
    request_digest: str


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision, ready to be stored.

    The last event is the outcome event; its body's ``details`` are the decision itself
    (``decision_json.decision_details``), so a stored decision is read back from the leaf that the log proves.
    ``changes`` are applied in the same transaction, in their order; one that is refused refuses the whole record.
    """

    decision: Decision
    document: bytes
    events: tuple[Event, ...]
    idempotency: Idempotency | None
    agent_id: str
    intent: str
    tools: tuple[str, ...]
    lowest_trust: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """Events with the changes of state that they tell of, and no decision: a vote, a redeemed grant, a completion.

    There is at least one event; the receipt is that of the last one.
    """

    events: tuple[Event, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a record is stored: its outcome event's place in the log."""

    event_id: EventId
    log_index: int
    leaf_hash: bytes
    replayed: bool = False

    def for_retry(self, *, key: str, request_digest: str, stored_digest: str) -> Receipt:
        """Return the receipt that a retry with ``key`` gets.

        Raises:
            IdempotencyConflictError: the key stands for another request.
        """
        if request_digest != stored_digest:
            raise IdempotencyConflictError(
                "the idempotency key was used for another request",
                hint="Use a fresh key for every plan; repeat a key only to retry the same request",
                key=key,
            )
        return replace(self, replayed=True)


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision read back: the outcome event's details, the document (empty where it was erased), and the receipt."""

    decision_id: DecisionId
    details: Mapping[str, JsonValue]
    document: bytes
    receipt: Receipt
    request_digest: str

    @property
    def is_erased(self) -> bool:
        """Return whether what it was made on is not there any more."""
        return not self.document


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One line of a trace list. ``agent_id`` opened the trace; ``agents`` are all that decided in it.

    ``effects`` are what its steps' tools may do. Money is in millionths of a US dollar; ``budget_share`` is how full
    the fullest budget got that it charged, in hundredths of a percent. ``gates`` is one letter for each gate.
    """

    trace_id: str
    agent_id: str
    outcome: str
    mode: str
    intent: str
    tools: tuple[str, ...]
    rules: tuple[str, ...]
    lowest_trust: str
    bundle_revision: str
    decisions: int
    started_at_ns: int
    last_at_ns: int
    agents: tuple[str, ...]
    effects: tuple[str, ...] = ()
    steps: int = 0
    tokens: int = 0
    micro_usd: int = 0
    budget_share: int = 0
    gates: str = ""


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """Everything under one trace id: decisions oldest first, events in log order."""

    summary: TraceSummary
    decisions: tuple[StoredDecision, ...]
    events: tuple[StoredEvent, ...]


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """One event where it stands in its trace: the ids of those beside it, empty at an end, and its decision if any."""

    stored: StoredEvent
    before: str
    after: str
    decision: StoredDecision | None


def placed(trace: StoredTrace, event_id: str) -> PlacedEvent:
    """Return one event of a trace with what stands beside it.

    Raises:
        NotFoundError: the trace has no such event.
    """
    at = next((at for at, one in enumerate(trace.events) if one.event.id == event_id), None)
    if at is None:
        raise no_such_event(event_id)
    ids = ["", *(str(one.event.id) for one in trace.events), ""]
    stored = trace.events[at]
    decision = next((one for one in trace.decisions if one.decision_id == stored.event.decision_id), None)
    return PlacedEvent(stored, ids[at], ids[at + 2], decision)


def no_such_event(event_id: str) -> NotFoundError:
    """Return what is raised where a trace has no such event."""
    return NotFoundError("the trace has no such event", hint="Open the trace and choose one", id=event_id)


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Narrows a list of traces; an empty field does not narrow. Times are Unix nanoseconds, 0 for open.

    ``without`` are fields of this with a value each: whatever has one of them is left out. ``words`` and ``numbers``
    are what more a trace must fit.
    """

    agent_id: str = ""
    outcome: str = ""
    tool: str = ""
    rule: str = ""
    trust: str = ""
    revision: str = ""
    mode: str = ""
    from_ns: int = 0
    to_ns: int = 0
    without: tuple[tuple[str, str], ...] = ()
    words: tuple[WordMatch, ...] = ()
    numbers: tuple[NumberMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class TracePage:
    """A page of traces, newest first; ``next_token`` is empty on the last one."""

    traces: tuple[TraceSummary, ...]
    next_token: str


@dataclass(frozen=True, slots=True)
class LogHead:
    """The log's size in leaves and its RFC 6962 Merkle root."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class LogReport:
    """The result of a full verification: the stored head, the recomputed one, and the first bad leaf if any."""

    stored: LogHead
    recomputed: LogHead
    problem: str
    bad_index: int | None

    @property
    def ok(self) -> bool:
        """Return whether everything verified."""
        return not self.problem
