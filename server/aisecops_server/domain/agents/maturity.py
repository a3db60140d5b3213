"""Phases of adoption: how far an agent, or all of them together, have come, as questions that records answer.

    0 ungoverned  nobody knows what it is, or it never asked
    1 observed    policy knows who asks, and what is asked is on record
    2 enforced    what policy finds counts, and people answer what waits for them
    3 controlled  use is limited, calls are followed to their end, and policy is tried on history
    4 assured     others vouch for the log, and nothing ran otherwise than it was decided

A phase is reached when everything that it takes is so, and everything that those below take. The figures that it takes
stand in ``data/maturity.yaml``; what is measured, and how, stands here. Nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from aisecops_server.domain.approvals.approval import ApprovalState
from aisecops_server.domain.grants.grant import GrantState

MOST_EVIDENCE = 3


class MaturityPhase(IntEnum):
    """How far adoption is."""

    UNGOVERNED = 0
    OBSERVED = 1
    ENFORCED = 2
    CONTROLLED = 3
    ASSURED = 4

    @property
    def word(self) -> str:
        """Return the name of the phase, which is also that of its part of the table."""
        return self.name.lower()


class Unit(StrEnum):
    """What a figure counts."""

    PERCENT = "percent"
    COUNT = "count"
    DAYS = "days"


class Reference(StrEnum):
    """What a piece of evidence is: a trace and an index in the log, a place in the policy, or a named record."""

    TRACE = "trace"
    POLICY = "policy"
    REPLAY = "replay"
    CHECKPOINT = "checkpoint"
    WITNESS = "witness"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing to look at. ``index`` is that of an event in the log; -1 where there is none."""

    kind: Reference
    name: str
    index: int = -1


@dataclass(frozen=True, slots=True)
class Criterion:
    """One question. ``name`` is that of its figure in the table; ``is_ceiling`` says that less is better."""

    phase: MaturityPhase
    name: str
    question: str
    unit: Unit
    remedy: str
    is_ceiling: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found. Without a ``value`` there was nothing to measure, and ``note`` says why.

    ``applies`` is false where the question cannot be asked, which is no reason to stay in a phase.
    """

    value: int | None
    evidence: tuple[Evidence, ...] = ()
    note: str = ""
    applies: bool = True


@dataclass(frozen=True, slots=True)
class Judged:
    """A question with what was found and what it takes."""

    criterion: Criterion
    measured: Measured
    threshold: int

    @property
    def is_met(self) -> bool:
        """Return whether it is as it takes."""
        value = self.measured.value
        if not self.measured.applies:
            return True
        if value is None:
            return False
        return value <= self.threshold if self.criterion.is_ceiling else value >= self.threshold


@dataclass(frozen=True, slots=True)
class Maturity:
    """How far an agent is, or all of them when ``agent_id`` is empty."""

    agent_id: str
    owner: str
    judged: tuple[Judged, ...]

    @property
    def phase(self) -> MaturityPhase:
        """Return the phase that is reached."""
        reached = MaturityPhase.UNGOVERNED
        for phase in list(MaturityPhase)[1:]:
            if not all(judged.is_met for judged in self.judged if judged.criterion.phase is phase):
                break
            reached = phase
        return reached


@dataclass(frozen=True, slots=True)
class DecisionFact:
    """One decision, as far as it says how far adoption is."""

    index: int
    trace_id: str
    agent_id: str
    mode: str
    policy_mode: str


@dataclass(frozen=True, slots=True)
class GrantFact:
    """One grant. ``redeemed_by`` is who used it; empty when nobody did."""

    trace_id: str
    agent_id: str
    state: GrantState
    redeemed_by: str = ""


@dataclass(frozen=True, slots=True)
class RequestFact:
    """One request for approval, as it is at the time of asking."""

    trace_id: str
    agent_id: str
    state: ApprovalState


@dataclass(frozen=True, slots=True)
class IncidentFact:
    """One runtime incident."""

    index: int
    trace_id: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class AdoptionRecords:
    """The latest records, newest first."""

    decisions: tuple[DecisionFact, ...] = ()
    grants: tuple[GrantFact, ...] = ()
    requests: tuple[RequestFact, ...] = ()
    incidents: tuple[IncidentFact, ...] = ()

    def of(self, agent_id: str) -> AdoptionRecords:
        """Return those of one agent."""
        return AdoptionRecords(
            tuple(fact for fact in self.decisions if fact.agent_id == agent_id),
            tuple(fact for fact in self.grants if fact.agent_id == agent_id),
            tuple(fact for fact in self.requests if fact.agent_id == agent_id),
            tuple(fact for fact in self.incidents if fact.agent_id == agent_id),
        )


def percent(part: int, whole: int) -> int:
    """Return a share in whole percent; only all of it is 100."""
    return part * 100 // whole


def of_traces(facts: Iterable[DecisionFact | GrantFact | RequestFact | IncidentFact]) -> tuple[Evidence, ...]:
    """Return evidence for the first few records, each trace once."""
    found: dict[str, Evidence] = {}
    for fact in facts:
        index = fact.index if isinstance(fact, DecisionFact | IncidentFact) else -1
        found.setdefault(fact.trace_id, Evidence(Reference.TRACE, fact.trace_id, index))
        if len(found) == MOST_EVIDENCE:
            break
    return tuple(found.values())


def judged(
    measured: Mapping[str, Measured], thresholds: Mapping[str, Mapping[str, int]], criteria: Sequence[Criterion]
) -> tuple[Judged, ...]:
    """Return every question with its answer; ``thresholds`` are those of the table, by phase and name."""
    return tuple(
        Judged(one, _cut(measured[one.name]), thresholds[one.phase.word][one.name])
        for one in criteria
        if one.name in measured
    )


def _cut(measured: Measured) -> Measured:
    return replace(measured, evidence=measured.evidence[:MOST_EVIDENCE])


_P = MaturityPhase
CRITERIA: tuple[Criterion, ...] = (
    Criterion(
        _P.OBSERVED,
        "registered_percent",
        "Does policy know who asks?",
        Unit.PERCENT,
        "Register the agent in data/agents.yaml ('aisecops dev onboard' drafts it), or find out what it is",
    ),
    Criterion(
        _P.OBSERVED,
        "decisions",
        "Is what is asked on record?",
        Unit.COUNT,
        "Have its runtime ask for decisions; 'observe' in data/modes.yaml blocks nothing",
    ),
    Criterion(
        _P.ENFORCED,
        "enforced_percent",
        "Are decisions enforced?",
        Unit.PERCENT,
        "Set the agent to 'enforce' in data/modes.yaml, and have its runtime call Decide, not DryRun",
    ),
    Criterion(
        _P.ENFORCED,
        "observed_rules",
        "Which rules count for nothing?",
        Unit.COUNT,
        "Take the rule out of 'rules' in data/modes.yaml once what it finds is right",
        is_ceiling=True,
    ),
    Criterion(
        _P.ENFORCED,
        "answered_percent",
        "Do people answer what waits for them?",
        Unit.PERCENT,
        "Name enough approvers in data/people.yaml and have them told: docs/how-to/receive-webhooks.md",
    ),
    Criterion(
        _P.CONTROLLED,
        "limited_percent",
        "Is use limited by budgets?",
        Unit.PERCENT,
        "Give its profile 'limits' in data/budgets.yaml",
    ),
    Criterion(
        _P.CONTROLLED,
        "reported_percent",
        "Is it known how calls ended?",
        Unit.PERCENT,
        "Run tools through the guard, or call Complete for every grant: docs/how-to/govern-a-python-agent.md",
    ),
    Criterion(
        _P.CONTROLLED,
        "replay_days",
        "Was policy tried on history lately?",
        Unit.DAYS,
        "Run 'aisecops replay run', best with every policy change",
        is_ceiling=True,
    ),
    Criterion(
        _P.ASSURED,
        "witnesses",
        "Does somebody else vouch for the log?",
        Unit.COUNT,
        "Run a witness on another machine and name it in AISECOPS_WITNESSES",
    ),
    Criterion(
        _P.ASSURED,
        "incidents",
        "Did everything run as it was decided?",
        Unit.COUNT,
        "Settle what 'aisecops incident list' shows",
        is_ceiling=True,
    ),
    Criterion(
        _P.ASSURED,
        "enforcement_points",
        "Do tools check for themselves?",
        Unit.COUNT,
        "Have tool servers verify and redeem grants: docs/how-to/verify-grants-in-a-tool-server.md",
    ),
)
