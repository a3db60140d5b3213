"""Closing a grant with what came of it: the end of an allow, told once.

What ran is recorded as it was reported, also where it is not what was granted: refusing to hear it would not undo it.
The differences are incidents of the same transaction. A call that began in time, and is told of after its grant was
given up, is on record and no incident: its enforcement point may have been cut off.
"""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.errors import ContendedError, GrantNotUsableError
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.grants.execution import ExecutionReport, deviations, grant_event, is_only_told_late
from aisecops_server.domain.grants.grant import GrantState, StoredGrant
from aisecops_server.domain.grants.grant_changes import CloseGrant
from aisecops_server.domain.grants.incident import Incident, IncidentKind
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.grants import GrantStore
from aisecops_server.usecases.budgets.budgets import Settlements
from aisecops_server.usecases.decisions.controls import Commitment
from aisecops_server.usecases.grants.raise_incident import RaiseIncident

# Only the reaper, a redemption or another report can come in between, and each of them only once.
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class CompleteCommand:
    """What an agent says came of one of its grants."""

    caller: Principal
    grant_id: str
    report: ExecutionReport


@dataclass(frozen=True, slots=True)
class Completed:
    """The state of a closed grant, and the incidents that its report gave; ``retried`` when it was reported before."""

    state: GrantState
    incidents: tuple[IncidentKind, ...]
    retried: bool


@dataclass(frozen=True, slots=True)
class Complete:
    """Closes grants."""

    grants: GrantStore
    log: EventLog
    clock: Clock
    ids: Ids
    incidents: RaiseIncident
    settlements: Settlements

    async def __call__(self, command: CompleteCommand) -> Completed:
        """Close the grant with the report.

        Raises:
            NotFoundError: there is no such grant.
            GrantNotUsableError: it is not the caller's, or something else was reported of it before.
            LogUnavailableError: it could not be recorded.
        """
        for attempt in range(_ATTEMPTS):
            stored = await self.grants.grant(command.grant_id)
            try:
                return await self._close(stored, command)
            except ContendedError:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _close(self, stored: StoredGrant, command: CompleteCommand) -> Completed:
        now, report = self.clock.now_ns(), command.report
        if stored.grant.agent_id != command.caller.id:
            raise await self._refused(stored, command, IncidentKind.OTHER_CALLER, now)
        if stored.state.is_final:
            if stored.report == report.digest:
                return Completed(stored.state, (), retried=True)
            if is_only_told_late(stored, report):
                return await self._told_late(stored, command, now)
            late = stored.state is GrantState.EXPIRED_UNKNOWN and not stored.report
            if late:
                await self._charge_late(stored, command, now)
            kind = IncidentKind.EXECUTED_AFTER_EXPIRY if late else IncidentKind.GRANT_REUSED
            raise await self._refused(stored, command, kind, now)
        found = tuple(deviations(stored, report, now_seconds=now // 1_000_000_000))
        close = CloseGrant(stored.grant.id, seen=stored.state, final=report.final_state, report=report.digest)
        settled = await self._settled(stored, command, now)
        ended = f"execution.{report.outcome.value}"
        events = (*settled.events, *self._events(stored, command, found, now, type=ended))
        await self.log.append_change(ChangeRecord(events, (close, *settled.changes)))
        return Completed(report.final_state, tuple(incident.kind for incident in found), retried=False)

    async def _told_late(self, stored: StoredGrant, command: CompleteCommand, now: int) -> Completed:
        """Record what came of a call whose grant stays given up, the first time that it is told."""
        found = tuple(deviations(stored, command.report, now_seconds=now // 1_000_000_000))
        settled = await self._settled(stored, command, now)
        events = (*settled.events, *self._events(stored, command, found, now, type="execution.told_late"))
        told = CloseGrant(stored.grant.id, seen=stored.state, final=stored.state, report=command.report.digest)
        await self.log.append_change(ChangeRecord(events, (told, *settled.changes)))
        return Completed(stored.state, tuple(incident.kind for incident in found), retried=False)

    async def _settled(self, stored: StoredGrant, command: CompleteCommand, now: int) -> Commitment:
        grant, amounts = stored.grant, command.report.cost.amounts()
        return await self.settlements.of_step(grant.decision_id, grant.step_id, amounts, now_ns=now)

    async def _charge_late(self, stored: StoredGrant, command: CompleteCommand, now: int) -> None:
        """Charge what a call came to beyond what was charged for it when it was given up."""
        settled = await self._settled(stored, command, now)
        if settled.changes:
            await self.log.append_change(ChangeRecord(settled.events, settled.changes))

    def _events(
        self, stored: StoredGrant, command: CompleteCommand, found: tuple[Incident, ...], now: int, *, type: str
    ) -> tuple[Event, ...]:
        caller, grant = command.caller.id, stored.grant
        terminal = grant_event(
            grant,
            id=self.ids.event_id(),
            type=type,
            now_ns=now,
            by=caller,
            details={
                **command.report.details(),
                "redeemed": stored.redeemed,
                "as_granted": not found,
            },
        )
        raised = [self.incidents.of_grant(incident, grant, by=caller, now_ns=now) for incident in found]
        return (*raised, terminal)

    async def _refused(
        self, stored: StoredGrant, command: CompleteCommand, kind: IncidentKind, now: int
    ) -> GrantNotUsableError:
        """Record what was reported all the same, and return the refusal."""
        facts = {**command.report.details(), "tool": stored.grant.tool, "stage": "completion", "state": stored.state}
        incident = Incident(kind, {**facts, "reported_tool": command.report.tool})
        await self.incidents.store(self.incidents.of_grant(incident, stored.grant, by=command.caller.id, now_ns=now))
        return GrantNotUsableError(
            kind.message[:1].lower() + kind.message[1:],
            hint="What was reported is on record as an incident",
            why=kind.value,
            grant=stored.grant.id,
        )
