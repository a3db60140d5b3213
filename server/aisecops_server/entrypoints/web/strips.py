"""The gate strip of every step of a trace: which stages it passed, and where it stopped."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aisecops.v1 import decision_pb2
from aisecops.v1.audit_service_pb2 import GetTraceResponse
from aisecops.v1.event_pb2 import Event, Stage
from aisecops.v1.provenance_pb2 import TrustLevel

from aisecops_server.domain.decisions.timeline import stage_of
from aisecops_server.domain.display.words import (
    ALLOWED,
    BLOCKED,
    DRY_RUN,
    ERROR,
    ESCALATED,
    NOT_REACHED,
    WARNED,
    Sign,
    bare,
    effect_sign,
    lowest_trust,
    outcome_sign,
)

# All stages of a timeline, by the short word that heads their column.
STAGES: Mapping[str, str] = {
    "plan": "plan_extraction",
    "identity": "identity",
    "capability": "capability",
    "policy": "policy",
    "mcp": "mcp",
    "budget": "budget",
    "control": "runtime_control",
    "approval": "approval",
    "execution": "execution",
    "outcome": "outcome",
}
_STAGE_WORD = {number: bare(name).lower() for name, number in Stage.items()}
_COLUMN_OF_STAGE = {stage: column for column, stage in STAGES.items()}
GRANTED = replace(DRY_RUN, word="granted")
FAILED = replace(BLOCKED, word="failed")
INCIDENT = replace(ERROR, word="incident")
# One letter a sign, for rows that travel as data.
CODES: Mapping[str, str] = {
    ALLOWED.word: "a",
    WARNED.word: "w",
    ESCALATED.word: "e",
    BLOCKED.word: "b",
    DRY_RUN.word: "d",
    ERROR.word: "x",
    NOT_REACHED.word: "n",
    GRANTED.word: "g",
    FAILED.word: "f",
    INCIDENT.word: "i",
}
SIGNS: Mapping[str, Sign] = {
    CODES[sign.word]: sign
    for sign in (ALLOWED, WARNED, ESCALATED, BLOCKED, DRY_RUN, ERROR, NOT_REACHED, GRANTED, FAILED, INCIDENT)
}
# From here on it is said that nothing happened.
IDLE_SECONDS = 60
# The steps of a long trace look like few; so many looks are worked out once.
_LOOKS = 1024
_WEIGHT = {NOT_REACHED: 0, ALLOWED: 1, WARNED: 2, ESCALATED: 3, BLOCKED: 4}


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of one decision; ``event_id`` is the event that concluded it, ``plan`` counts decisions from 1.

    ``since`` is how many seconds after the first row it was decided, ``idle`` how many after the row before; ``times``
    is how many plans in a row it stands for.
    """

    at: int
    plan: int
    decision_id: str
    event_id: str
    step_id: str
    tool: str
    sign: Sign
    cells: tuple[Sign, ...]
    trust: str
    milliseconds: float
    rules: tuple[str, ...]
    since: float
    idle: float
    times: int = 1

    @property
    def codes(self) -> str:
        """Return the strip as one letter a stage."""
        return "".join(CODES.get(cell.word, "x") for cell in self.cells)

    @property
    def stopped(self) -> str:
        """Return the stage that let it go no further, or an empty string."""
        return next((name for name, cell in zip(STAGES, self.cells, strict=True) if cell in (BLOCKED, ESCALATED)), "")

    @property
    def when(self) -> str:
        """Return how long after the first row it was, and before it how long nothing happened, if that was long."""
        rested = f"idle {duration(self.idle)} · " if self.idle >= IDLE_SECONDS else ""
        return f"{rested}+{duration(self.since)}"

    def words(self) -> str:
        """Return the strip in words, for who does not see it."""
        parts = [f"{name} {cell.word}" for name, cell in zip(STAGES, self.cells, strict=True) if cell != NOT_REACHED]
        return ", ".join(parts)

    def holds(self, text: str) -> bool:
        """Return whether a search for ``text`` finds this row."""
        return any(text in part.lower() for part in (self.step_id, self.tool, self.decision_id, *self.rules))


def duration(seconds: float) -> str:
    """Return how long something took, in two units at most."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days:,} d {hours} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def body(event: Event) -> Mapping[str, Any]:
    """Return the details of a stored event."""
    found: Mapping[str, Any] = orjson.loads(event.body_json).get("details", {})
    return found


def step_rows(trace: GetTraceResponse) -> list[StepRow]:
    """Return every step of every decision of a trace, in the order of the log."""
    by_decision: defaultdict[str, list[Event]] = defaultdict(list)
    for event in trace.events:
        by_decision[event.decision_id].append(event)
    rows: list[StepRow] = []
    first = before = _seconds(trace.decisions[0]) if trace.decisions else 0.0
    for plan, decision in enumerate(trace.decisions, start=1):
        now = _seconds(decision)
        place = _Place(plan, len(rows), since=now - first, idle=now - before)
        rows.extend(_rows(decision, by_decision.get(decision.decision_id, ()), place))
        before = now
    return rows


def _seconds(decision: decision_pb2.Decision) -> float:
    at = decision.decided_at
    return at.seconds + at.nanos / 1e9


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the rows of a decision stand: it is the ``plan``-th, they begin at row ``at``. When, as of ``StepRow``."""

    plan: int
    at: int
    since: float
    idle: float


def _rows(decision: decision_pb2.Decision, events: Sequence[Event], place: _Place) -> Iterator[StepRow]:
    reached = frozenset([event.stage for event in events])
    tools = _tools(events)
    ran = _executions(events)
    concluded = next((event.event_id for event in events if event.type == "decision.concluded"), "")
    trust = _lowest(tuple([source.trust for source in decision.sources]))
    # Texts that were screened have no steps; they are one row.
    steps = list(decision.steps) or [decision_pb2.StepDecision(outcome=decision.outcome)]
    for number, step in enumerate(steps):
        findings = [finding for finding in decision.findings if finding.step_id in ("", step.step_id)]
        found = tuple([(finding.rule, finding.effect) for finding in findings])
        cells = _cells(step.outcome, found, reached, ran.get(step.step_id, NOT_REACHED))
        yield StepRow(
            at=place.at + number,
            plan=place.plan,
            decision_id=decision.decision_id,
            event_id=concluded,
            step_id=step.step_id or "texts",
            tool=tools.get(step.step_id, "screening" if not decision.steps else ""),
            sign=row_sign(decision, step),
            cells=cells,
            trust=trust,
            milliseconds=(decision.evaluation.seconds * 1e9 + decision.evaluation.nanos) / 1e6,
            rules=tuple(dict.fromkeys(finding.rule for finding in findings)),
            since=place.since,
            # Steps of one plan are decided together.
            idle=0.0 if number else place.idle,
        )


def row_sign(decision: decision_pb2.Decision, step: decision_pb2.StepDecision) -> Sign:
    """Return the sign of a step: its outcome, or that it was only tried."""
    found = outcome_sign(decision_pb2.Outcome.Name(step.outcome))
    return DRY_RUN if found is ALLOWED and decision.mode == decision_pb2.MODE_DRY_RUN else found


def trust_name(trust: TrustLevel.ValueType) -> str:
    """Return the API's name of a trust level."""
    return TrustLevel.Name(trust)


@functools.lru_cache(maxsize=_LOOKS)
def _lowest(trusts: tuple[TrustLevel.ValueType, ...]) -> str:
    return lowest_trust([trust_name(trust) for trust in trusts])


@functools.lru_cache(maxsize=_LOOKS)
def _cells(
    decided: decision_pb2.Outcome.ValueType,
    findings: tuple[tuple[str, decision_pb2.Effect.ValueType], ...],
    stages: frozenset[Stage.ValueType],
    ran: Sign,
) -> tuple[Sign, ...]:
    """Return the strip of a step by its outcome, the rules and effects of its findings, and the stages reached."""
    reached = {_STAGE_WORD.get(stage, "") for stage in stages}
    signs = {column: ALLOWED if stage in reached else NOT_REACHED for column, stage in STAGES.items()}
    for rule, effect in findings:
        column = _COLUMN_OF_STAGE[stage_of(rule).value]
        found = effect_sign(decision_pb2.Effect.Name(effect))
        signs[column] = max(signs[column], found, key=lambda sign: _WEIGHT.get(sign, 5))
    outcome = outcome_sign(decision_pb2.Outcome.Name(decided))
    if "approval" in reached:
        signs["approval"] = outcome if outcome in (ESCALATED, ALLOWED) else NOT_REACHED
    if "outcome" in reached:
        signs["outcome"] = outcome
    signs["execution"] = ran
    return tuple(signs.values())


def _tools(events: Iterable[Event]) -> Mapping[str, str]:
    """Return the tool of each step, as the log's own plan event has it."""
    for event in events:
        if event.type == "plan.received":
            return {str(step["id"]): str(step["tool"]) for step in body(event).get("steps", [])}
    return {}


def _executions(events: Iterable[Event]) -> dict[str, Sign]:
    """Return what became of each step's call: the latest report, and an incident whatever comes after it."""
    found: dict[str, Sign] = {}
    for event in events:
        subject, _, what = event.type.partition(".")
        if event.type == "grant.issued":
            found |= {str(claims["step_id"]): GRANTED for claims in body(event).get("grants", [])}
        elif subject in ("execution", "incident"):
            step = str(body(event).get("step", ""))
            # Told late or not, a call that failed has failed.
            what = str(body(event).get("outcome", what)) if what == "told_late" else what
            if found.get(step) is not INCIDENT:
                found[step] = _EXECUTED.get(what, INCIDENT) if subject == "execution" else INCIDENT
    return found


_EXECUTED = {
    "executed": ALLOWED,
    "observed": ALLOWED,
    "failed": FAILED,
    "expired_unknown": WARNED,
}
