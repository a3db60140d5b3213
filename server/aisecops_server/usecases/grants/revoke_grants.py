"""Taking back authority that was given and not used: what security operations does first when an agent misbehaves."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.events.event import Stage, make_event
from aisecops_server.domain.grants.grant import GrantState, StoredGrant
from aisecops_server.domain.grants.grant_changes import RevokeGrants
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.grants import GrantStore


@dataclass(frozen=True, slots=True)
class RevokeCommand:
    """Which grants to revoke: those of one agent, or those of one decision; who wants it and why."""

    principal: str
    reason: str
    agent_id: str = ""
    decision_id: str = ""


@dataclass(frozen=True, slots=True)
class Revoke:
    """Revokes grants that were not redeemed yet."""

    grants: GrantStore
    log: EventLog
    clock: Clock
    ids: Ids

    async def __call__(self, command: RevokeCommand) -> int:
        """Revoke, and return how many grants it was.

        Raises:
            InvalidRequestError: it does not say which.
            LogUnavailableError: it could not be recorded; nothing was revoked.
        """
        usable = [stored.grant.id for stored in await self._chosen(command) if stored.state is GrantState.ISSUED]
        event = make_event(
            id=self.ids.event_id(),
            trace_id="",
            plan_id="",
            decision_id=command.decision_id,
            stage=Stage.EXECUTION,
            type="grant.revoked",
            occurred_at_ns=self.clock.now_ns(),
            details={
                "principal": command.principal,
                "reason": command.reason,
                "agent": command.agent_id,
                "grants": list(usable),
            },
        )
        await self.log.append_change(ChangeRecord((event,), (RevokeGrants(tuple(usable)),)))
        return len(usable)

    async def _chosen(self, command: RevokeCommand) -> list[StoredGrant]:
        if bool(command.agent_id) == bool(command.decision_id):
            raise InvalidRequestError("name an agent or a decision, and not both", field="agent_id")
        if command.agent_id:
            return await self.grants.open_grants_of(command.agent_id)
        return await self.grants.grants_of(command.decision_id)
