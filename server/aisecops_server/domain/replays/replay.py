"""A replay as a question: which recorded decisions, decided by what, compared with what.

The question has everything that its answer depends on, resolved: commits, digests, engine, and the head of the log
up to which it looks. So its id is a digest of it: who asks the same question gets the same answer, and an interrupted
replay is found again by asking once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, NewType

from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.log.record import LogHead, TraceFilter
from aisecops_server.domain.plans.provenance import TrustLevel
from aisecops_server.domain.replays.recorded_decision import Doubt, RecordedDecision
from aisecops_server.domain.traces.trace_query import read_query

ReplayId = NewType("ReplayId", str)

# A change of how decisions are compared makes earlier answers answers to another question.
ANSWER_VERSION = 1
_ID_CHARACTERS = 24


class VerdictClass(StrEnum):
    """How a decision compares with what was decided before. Every compared decision is in exactly one class."""

    SAME = "SAME"
    OUTCOME_FLIP = "OUTCOME_FLIP"
    REASON_ONLY = "REASON_ONLY"
    OBLIGATION_CHANGE = "OBLIGATION_CHANGE"
    ERROR = "ERROR"
    INDETERMINATE = "INDETERMINATE"


class Direction(StrEnum):
    """Which way an outcome flipped: more is let through, or less."""

    LOOSER = "LOOSER"
    STRICTER = "STRICTER"


class ReplayState(StrEnum):
    """How far a replay is."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which recorded decisions; an empty field does not narrow. Times are Unix microseconds, 0 for open.

    ``from_micros`` is inclusive and ``to_micros`` exclusive; both are about when the decision was made. ``query`` are
    terms of the query language beside them, which were read before: what they leave out, compare, or begin with.
    """

    agent_id: str = ""
    outcome: str = ""
    tool: str = ""
    rule: str = ""
    trust: str = ""
    revision: str = ""
    mode: str = ""
    from_micros: int = 0
    to_micros: int = 0
    trace_ids: tuple[str, ...] = ()
    query: str = ""

    @property
    def beyond(self) -> TraceFilter:
        """Return what ``query`` asks for."""
        return _read(self.query)

    def holds(self, decision: RecordedDecision) -> bool:
        """Return whether a recorded decision is one of those that are meant, or may be: its record was changed."""
        if decision.doubt is Doubt.RECORD_ALTERED:
            return True
        at = decision.decided_at_micros
        return (
            (not self.agent_id or self.agent_id == decision.agent_id)
            and (not self.outcome or self.outcome == decision.text("outcome"))
            and (not self.revision or self.revision == decision.text("bundle_revision"))
            and (not self.mode or self.mode == decision.text("mode"))
            and (not self.tool or self.tool in decision.tools)
            and (not self.rule or self.rule in decision.rules)
            and (not self.trust or self.trust == _lowest_trust(decision))
            and self.from_micros <= at < (self.to_micros or at + 1)
            and (not self.trace_ids or decision.text("trace_id") in self.trace_ids)
            and (not self.query or _fits(decision, self.beyond))
        )


@dataclass(frozen=True, slots=True)
class Side:
    """What decides on one side of the comparison.

    ``name`` is what was asked for, in words. Without a ``revision`` each decision's own recorded policy decides;
    ``changes`` are the changed values of tables, which stand in no commit. ``engine`` names the engine, by version.
    """

    name: str
    revision: str = ""
    digest: str = ""
    engine: str = ""
    changes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, JsonValue]) -> Side:
        """Return the side that a question's JSON holds.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(**_fields(stored))

    @property
    def is_recorded_policy(self) -> bool:
        """Return whether each decision's own policy decides."""
        return not self.revision


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a replay's answer depends on.

    Without ``baseline`` what is on record is compared with; with one, what that policy says now.
    """

    selection: Selection
    candidate: Side
    head: LogHead
    baseline: Side | None = None

    @property
    def replay_id(self) -> ReplayId:
        """Return the id that this question, and no other, has."""
        return ReplayId(f"rpl-{digest(canonical_bytes(self.as_json()))[:_ID_CHARACTERS]}")

    @classmethod
    def from_json(cls, stored: Mapping[str, JsonValue]) -> Question:
        """Return the question that ``as_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else, or of another version.
        """
        if stored["answer_version"] != ANSWER_VERSION:
            raise ValueError("a question of another version")
        baseline = stored["baseline"]
        return cls(
            selection=Selection(**_fields(stored["selection"])),
            candidate=Side(**_fields(stored["candidate"])),
            head=LogHead(int(str(stored["log_size"])), bytes.fromhex(str(stored["log_root"]))),
            baseline=Side(**_fields(baseline)) if baseline else None,
        )

    def as_json(self) -> dict[str, JsonValue]:
        """Return the question as JSON."""
        return {
            "answer_version": ANSWER_VERSION,
            # Without a query as it was before there were any, so that the same question has the same id.
            "selection": {name: value for name, value in _as_json(self.selection).items() if value or name != "query"},
            "baseline": _as_json(self.baseline) if self.baseline else None,
            "candidate": _as_json(self.candidate),
            "log_size": self.head.size,
            "log_root": self.head.root.hex(),
        }


class Phase(StrEnum):
    """What a running replay is doing."""

    WAITING = "WAITING"
    FIDELITY = "FIDELITY"
    SAMPLE = "SAMPLE"
    ALL = "ALL"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: evaluations that were made, and decisions whose answer was there already."""

    phase: Phase = Phase.WAITING
    done: int = 0
    total: int = 0
    evaluated: int = 0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class ReplayRecord:
    """A replay as it is kept: the question, who asked, how far it is, and the answers so far.

    Of one that failed, ``reason`` is that of the error and ``problem`` what it says.
    """

    id: ReplayId
    question: Mapping[str, JsonValue]
    state: ReplayState
    asked_by: str
    started_at_ns: int
    finished_at_ns: int = 0
    progress: Progress = field(default_factory=Progress)
    early: Mapping[str, JsonValue] | None = None
    report: Mapping[str, JsonValue] | None = None
    reason: str = ""
    problem: str = ""


@lru_cache(maxsize=64)
def _read(query: str) -> TraceFilter:
    return read_query(query).narrow


def _fits(decision: RecordedDecision, narrow: TraceFilter) -> bool:
    held: dict[str, tuple[str, ...]] = {
        "agent_id": (decision.agent_id,),
        "outcome": (decision.text("outcome"),),
        "revision": (decision.text("bundle_revision"),),
        "mode": (decision.text("mode"),),
        "tool": decision.tools,
        "rule": decision.rules,
        "trust": (_lowest_trust(decision),),
        "effect": _effects(decision),
    }
    return not any(value in held[name] for name, value in narrow.without) and all(
        match.fits(held[match.field]) for match in narrow.words
    )


def _effects(decision: RecordedDecision) -> tuple[str, ...]:
    recorded = decision.details.get("effects")
    return tuple(map(str, recorded)) if isinstance(recorded, list | tuple) else ()


def _lowest_trust(decision: RecordedDecision) -> str:
    settled = decision.details.get("trust")
    values = set(settled.values()) if isinstance(settled, Mapping) else set()
    levels = [level for level in TrustLevel if level.value in values]
    return max(levels, key=lambda level: level.rank, default=TrustLevel.UNVERIFIED).value


def _fields(stored: JsonValue) -> dict[str, Any]:
    if not isinstance(stored, Mapping):
        raise TypeError("a part of a question is an object")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}


def _as_json(part: Selection | Side) -> dict[str, JsonValue]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(part).items()}
