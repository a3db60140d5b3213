"""Putting runtime incidents on record, and telling whoever watches the process."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from aisecops_server.domain.events.event import Event, Stage, make_event
from aisecops_server.domain.grants.execution import grant_event
from aisecops_server.domain.grants.grant import Grant
from aisecops_server.domain.grants.incident import Incident
from aisecops_server.ports import Clock, EventLog, Ids

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of a call without a grant. Empty fields are unknown."""

    agent_id: str
    tool: str = ""
    step_id: str = ""
    trace_id: str = ""
    plan_id: str = ""
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class RaiseIncident:
    """Makes the events of incidents, and stores them where no other change tells of them."""

    log: EventLog
    clock: Clock
    ids: Ids

    def of_grant(self, incident: Incident, grant: Grant, *, by: str, now_ns: int) -> Event:
        """Return the event of an incident with a grant; ``by`` is whoever did or reported it."""
        _alarm(incident, agent=grant.agent_id, tool=grant.tool, by=by, trace_id=grant.trace_id)
        return grant_event(
            grant, id=self.ids.event_id(), type=incident.type, now_ns=now_ns, by=by, details=incident.details()
        )

    def of_call(self, incident: Incident, call: Observed, *, by: str, now_ns: int) -> Event:
        """Return the event of an incident without a grant."""
        _alarm(incident, agent=call.agent_id, tool=call.tool, by=by, trace_id=call.trace_id)
        return make_event(
            id=self.ids.event_id(),
            trace_id=call.trace_id,
            plan_id=call.plan_id,
            decision_id=call.decision_id,
            stage=Stage.EXECUTION,
            type=incident.type,
            occurred_at_ns=now_ns,
            details={
                "grant": "",
                "agent": call.agent_id,
                "principal": by,
                "step": call.step_id,
                "tool": call.tool,
                **incident.details(),
            },
        )

    async def store(self, event: Event) -> None:
        """Store one incident by itself."""
        await self.log.append_event(event)


def _alarm(incident: Incident, *, agent: str, tool: str, by: str, trace_id: str) -> None:
    _logger.warning(
        "incident %s (%s): %s; agent %s, tool %s, reported by %s",
        incident.kind.value,
        incident.kind.severity.value,
        incident.kind.message,
        agent or "unknown",
        tool or "unknown",
        by,
        extra={"trace_id": trace_id},
    )
