"""Hearing of calls that somebody saw: a tool server, a proxy, or an enforcement point that had no grant for one.

A call that is what a grant says is on record and no incident. Every other one is: it ran without authority, which is
worse if it had been refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.grants.execution import ExecutionReport, deviations, grant_event
from aisecops_server.domain.grants.grant import StoredGrant
from aisecops_server.domain.grants.incident import Incident, IncidentKind
from aisecops_server.domain.log.record import ChangeRecord, StoredDecision
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.grants import GrantStore
from aisecops_server.usecases.grants.issue_grants import REFUSED_CALLS
from aisecops_server.usecases.grants.raise_incident import Observed, RaiseIncident


@dataclass(frozen=True, slots=True)
class ReportCommand:
    """A call that was seen: ``agent_id`` made it, ``reporter`` tells of it. Other identifiers are empty if unknown."""

    reporter: str
    agent_id: str
    report: ExecutionReport
    grant_id: str = ""
    decision_id: str = ""
    trace_id: str = ""
    step_id: str = ""


@dataclass(frozen=True, slots=True)
class ReportExecution:
    """Records calls and says what is wrong with them."""

    grants: GrantStore
    log: EventLog
    clock: Clock
    ids: Ids
    incidents: RaiseIncident

    async def __call__(self, command: ReportCommand) -> tuple[IncidentKind, ...]:
        """Record the call, and return the kinds of incidents that it is.

        Raises:
            LogUnavailableError: it could not be recorded.
        """
        stored = await self._granted(command)
        if stored is not None:
            return await self._with_grant(stored, command)
        return await self._without_grant(command)

    async def _granted(self, command: ReportCommand) -> StoredGrant | None:
        if not command.grant_id:
            return None
        try:
            return await self.grants.grant(command.grant_id)
        except NotFoundError:
            return None

    async def _with_grant(self, stored: StoredGrant, command: ReportCommand) -> tuple[IncidentKind, ...]:
        now, grant, facts = self.clock.now_ns(), stored.grant, command.report.details()
        found = list(deviations(stored, command.report, now_seconds=now // 1_000_000_000))
        if command.agent_id != grant.agent_id:
            found.append(Incident(IncidentKind.OTHER_CALLER, {"expected": grant.agent_id, "found": command.agent_id}))
        seen = grant_event(
            grant, id=self.ids.event_id(), type="execution.observed", now_ns=now, by=command.reporter, details=facts
        )
        raised = [self.incidents.of_grant(incident, grant, by=command.reporter, now_ns=now) for incident in found]
        await self.log.append_change(ChangeRecord((seen, *raised), ()))
        return tuple(incident.kind for incident in found)

    async def _without_grant(self, command: ReportCommand) -> tuple[IncidentKind, ...]:
        refused = await self._refused_before(command)
        kind = IncidentKind.BLOCKED_BUT_RUN if refused else IncidentKind.RUN_WITHOUT_GRANT
        facts = {**command.report.details(), "presented_grant": command.grant_id}
        call = Observed(
            agent_id=command.agent_id,
            tool=command.report.tool,
            step_id=command.step_id,
            trace_id=str(refused.details["trace_id"]) if refused else command.trace_id,
            plan_id=str(refused.details["plan_id"]) if refused else "",
            decision_id=refused.decision_id if refused else command.decision_id,
        )
        now = self.clock.now_ns()
        event = self.incidents.of_call(Incident(kind, facts), call, by=command.reporter, now_ns=now)
        await self.incidents.store(event)
        return (kind,)

    async def _refused_before(self, command: ReportCommand) -> StoredDecision | None:
        """Return the decision that refused this very call, if it can be found by what was said of the call."""
        for decision in await self._candidates(command):
            if _refuses(decision.details) and _proposes(decision.details, command):
                return decision
        return None

    async def _candidates(self, command: ReportCommand) -> tuple[StoredDecision, ...]:
        try:
            if command.decision_id:
                return (await self.log.decision(command.decision_id),)
            if command.trace_id:
                return (await self.log.trace(command.trace_id)).decisions
        except NotFoundError:
            # What it refers to may be made up; that it ran is not.
            return ()
        return ()


def _refuses(details: Mapping[str, JsonValue]) -> bool:
    return details["mode"] == Mode.ENFORCE and details["outcome"] != Outcome.ALLOW


def _proposes(details: Mapping[str, JsonValue], command: ReportCommand) -> bool:
    """Return whether the call is a step of what was decided: of that agent, and by its name or by what it does."""
    principal, calls = details["principal"], details.get(REFUSED_CALLS)
    if not isinstance(principal, dict) or principal["id"] != command.agent_id or not isinstance(calls, list):
        return False
    report = command.report
    return any(
        call["tool"] == report.tool
        and (call["step"] == command.step_id or call["arguments_sha256"] == report.arguments_digest)
        for call in calls
        if isinstance(call, dict)
    )
