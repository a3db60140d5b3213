"""What an enforcement point says it ran, and how that is held against what was granted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aisecops_server.domain.budgets.budget import Metric
from aisecops_server.domain.events.event import Event, EventId, Stage, make_event
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.grants.grant import Grant, GrantState, StoredGrant
from aisecops_server.domain.grants.incident import Incident, IncidentKind


class ExecutionOutcome(StrEnum):
    """How a call ended."""

    EXECUTED = "executed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ExecutionCost:
    """What a call cost, as its enforcement point measured it. Integers only."""

    tokens: int = 0
    micro_usd: int = 0
    wall_milliseconds: int = 0

    def amounts(self) -> dict[Metric, int]:
        """Return what was told, for the budgets; nothing is no figure."""
        told = {
            Metric.TOKENS: self.tokens,
            Metric.MICRO_USD: self.micro_usd,
            Metric.WALL_MILLISECONDS: self.wall_milliseconds,
        }
        return {metric: amount for metric, amount in told.items() if amount > 0}


# What a report says of a call, in its event.
_REPORTED = (
    "tool",
    "outcome",
    "arguments_sha256",
    "result_sha256",
    "tokens",
    "micro_usd",
    "wall_milliseconds",
    "started_at_seconds",
    "failure",
)


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """What ran: the tool, digests of the arguments and of the result, and what it cost.

    ``started_at_seconds`` is the reporter's clock, 0 when it did not say.
    """

    outcome: ExecutionOutcome
    tool: str
    arguments_digest: str
    result_digest: str
    cost: ExecutionCost
    started_at_seconds: int
    failure: str

    @property
    def digest(self) -> str:
        """Return what tells a report that is sent again from another one."""
        return digest(canonical_bytes(self.details()))

    @property
    def final_state(self) -> GrantState:
        """Return the state that the report gives its grant."""
        return GrantState(self.outcome.value)

    def details(self) -> dict[str, JsonValue]:
        """Return the report as its event carries it."""
        return {
            "tool": self.tool,
            "outcome": self.outcome.value,
            "arguments_sha256": self.arguments_digest,
            "result_sha256": self.result_digest,
            "tokens": self.cost.tokens,
            "micro_usd": self.cost.micro_usd,
            "wall_milliseconds": self.cost.wall_milliseconds,
            "started_at_seconds": self.started_at_seconds,
            "failure": self.failure,
        }


def report_digest(details: Mapping[str, JsonValue]) -> str:
    """Return the digest of the report that an event's ``details`` carry."""
    return digest(canonical_bytes({name: details[name] for name in _REPORTED}))


def deviations(stored: StoredGrant, report: ExecutionReport, *, now_seconds: int) -> Iterator[Incident]:
    """Yield how what ran differs from what ``stored`` grants."""
    grant = stored.grant
    if report.tool != grant.tool:
        yield Incident(IncidentKind.OTHER_TOOL, _compared(grant.tool, report.tool))
    if report.arguments_digest != grant.arguments_digest:
        yield Incident(IncidentKind.OTHER_ARGUMENTS, _compared(grant.arguments_digest, report.arguments_digest))
    if stored.waiting_for:
        yield Incident(IncidentKind.OUT_OF_ORDER, {"waiting_for": list(stored.waiting_for)})
    if _began_late(stored, report, now_seconds):
        yield Incident(
            IncidentKind.EXECUTED_AFTER_EXPIRY,
            {"expired_at_seconds": grant.expires_at_seconds, "started_at_seconds": report.started_at_seconds},
        )


def grant_event(
    grant: Grant, *, id: EventId, type: str, now_ns: int, by: str, details: Mapping[str, JsonValue] | None = None
) -> Event:
    """Return an event about one grant; ``by`` is who did it or reported it."""
    return make_event(
        id=id,
        trace_id=grant.trace_id,
        plan_id=grant.plan_id,
        decision_id=grant.decision_id,
        stage=Stage.EXECUTION,
        type=type,
        occurred_at_ns=now_ns,
        details={
            "grant": grant.id,
            "agent": grant.agent_id,
            "principal": by,
            "step": grant.step_id,
            "tool": grant.tool,
            **(details or {}),
        },
    )


def redeemed_event(grant: Grant, key: str, *, id: EventId, now_ns: int, by: str) -> Event:
    """Return the event that tells that a grant was used up by the call of ``key``."""
    # The key itself would let a reader of the log retry the call.
    told = {"redemption_sha256": digest(key.encode())}
    return grant_event(grant, id=id, type="grant.redeemed", now_ns=now_ns, by=by, details=told)


def is_only_told_late(stored: StoredGrant, report: ExecutionReport) -> bool:
    """Return whether a report is the first of a grant that was given up, and of a call that began in time.

    We used the grant up for the call, and the report says so.
    """
    given_up = stored.state is GrantState.EXPIRED_UNKNOWN and stored.redeemed and not stored.report
    return given_up and 0 < report.started_at_seconds < stored.grant.expires_at_seconds


def _began_late(stored: StoredGrant, report: ExecutionReport, now_seconds: int) -> bool:
    # A redemption before the end is our own record of when it began; all else is the reporter's word, which can
    # only make things worse for it.
    began = report.started_at_seconds or now_seconds
    if stored.state is GrantState.REDEEMED:
        return False
    return began >= stored.grant.expires_at_seconds


def _compared(expected: str, found: str) -> dict[str, JsonValue]:
    return {"expected": expected, "found": found}
