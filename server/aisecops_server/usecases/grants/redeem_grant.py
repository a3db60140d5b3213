"""Using a grant up: once, in plan order, by the one it was given to, for exactly the call that it names.

Ordering rules: the signature, the caller, the call, the time, and last, inside the log's transaction, the state.
Whatever is refused is on record before the refusal is told; what looks like an attack is an incident.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aisecops_server.domain.errors import GrantNotUsableError
from aisecops_server.domain.grants.execution import grant_event, redeemed_event
from aisecops_server.domain.grants.grant import Grant
from aisecops_server.domain.grants.grant_changes import RedeemGrant
from aisecops_server.domain.grants.incident import Incident, IncidentKind
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.grants import GrantSigner
from aisecops_server.usecases.decisions.lifetimes import Lifetimes
from aisecops_server.usecases.grants.raise_incident import Observed, RaiseIncident

_SECOND = 1_000_000_000
# What a refusal is an incident of; the other refusals happen to honest callers too.
_INCIDENTS = {
    "forged": IncidentKind.GRANT_FORGED,
    "other_caller": IncidentKind.OTHER_CALLER,
    "other_tool": IncidentKind.OTHER_TOOL,
    "other_arguments": IncidentKind.OTHER_ARGUMENTS,
    "out_of_order": IncidentKind.OUT_OF_ORDER,
    "reused": IncidentKind.GRANT_REUSED,
}


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who presents a grant. A tool server tells what it saw itself; what it did not see is empty."""

    agent_id: str
    thumbprint: str

    def holds(self, grant: Grant) -> bool:
        """Return whether the grant was given to this bearer, by everything that is known of it.

        One that was asked for with a certificate is for the holder of that one; any other is for the agent, whichever
        of its tokens it shows.
        """
        if not grant.thumbprint:
            return self.agent_id == grant.agent_id
        known = [(self.agent_id, grant.agent_id), (self.thumbprint, grant.thumbprint)]
        return any(seen for seen, _ in known) and all(seen == given for seen, given in known if seen)


@dataclass(frozen=True, slots=True)
class RedeemCommand:
    """A grant with the call for which it is presented; ``key`` is the same when the same call asks again."""

    caller: str
    bearer: Bearer
    token: str
    key: str
    tool: str
    arguments_digest: str


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A grant that is used up; ``retried`` when it was before, by this very call."""

    grant: Grant
    retried: bool


def nothing_holds() -> str:
    """Return no reason against redeeming: only the grant counts."""
    return ""


@dataclass(frozen=True, slots=True)
class Redeem:
    """Redeems grants, while ``held`` names no reason why nothing may run now."""

    signer: GrantSigner
    log: EventLog
    clock: Clock
    ids: Ids
    incidents: RaiseIncident
    lifetimes: Lifetimes
    held: Callable[[], str] = nothing_holds

    async def __call__(self, command: RedeemCommand) -> Redeemed:
        """Use the grant up for the call that is named with it.

        Raises:
            GrantNotUsableError: the call may not run.
            LogUnavailableError: it could not be recorded, so the call may not run.
        """
        now = self.clock.now_ns()
        grant = await self._genuine(command, now)
        for refusal in _refusals(grant, command, now_seconds=now // _SECOND):
            raise await self._recorded(refusal, grant, command, now)
        if held := self.held():
            raise await self._recorded(_refused(grant, "held", held), grant, command, now)
        if self._is_over(grant):
            why = "the clock went back, and by the time that really passed the grant has expired"
            raise await self._recorded(_refused(grant, "expired", why), grant, command, now)
        event = redeemed_event(grant, command.key, id=self.ids.event_id(), now_ns=now, by=command.caller)
        try:
            await self.log.append_change(ChangeRecord((event,), (RedeemGrant(grant, command.key),)))
        except GrantNotUsableError as error:
            if error.metadata().get("why") == "retried":
                return Redeemed(grant, retried=True)
            raise await self._recorded(error, grant, command, now) from error
        return Redeemed(grant, retried=False)

    def _is_over(self, grant: Grant) -> bool:
        passed_to = self.lifetimes.now_ns(grant.id, given_at_ns=grant.issued_at_seconds * _SECOND)
        return passed_to >= grant.expires_at_seconds * _SECOND

    async def _genuine(self, command: RedeemCommand, now: int) -> Grant:
        try:
            return self.signer.read(command.token)
        except GrantNotUsableError:
            call = Observed(command.bearer.agent_id, tool=command.tool)
            incident = Incident(IncidentKind.GRANT_FORGED)
            await self.incidents.store(self.incidents.of_call(incident, call, by=command.caller, now_ns=now))
            raise

    async def _recorded(
        self, refusal: GrantNotUsableError, grant: Grant, command: RedeemCommand, now: int
    ) -> GrantNotUsableError:
        """Return the refusal once it is on record."""
        facts = {
            "why": refusal.metadata()["why"],
            "stage": "redemption",
            "presented_by": command.bearer.agent_id,
            "presented_tool": command.tool,
            "presented_arguments_sha256": command.arguments_digest,
        }
        kind = _INCIDENTS.get(facts["why"])
        if kind is None:
            event = grant_event(
                grant, id=self.ids.event_id(), type="grant.refused", now_ns=now, by=command.caller, details=facts
            )
        else:
            event = self.incidents.of_grant(Incident(kind, facts), grant, by=command.caller, now_ns=now)
        await self.log.append_event(event)
        return refusal


def _refusals(grant: Grant, command: RedeemCommand, *, now_seconds: int) -> Iterator[GrantNotUsableError]:
    if not command.bearer.holds(grant):
        yield _refused(grant, "other_caller", "the grant was given to another caller")
    if command.tool != grant.tool:
        yield _refused(grant, "other_tool", f"the grant is for the tool {grant.tool}")
    if command.arguments_digest != grant.arguments_digest:
        yield _refused(grant, "other_arguments", "the grant is for other arguments")
    if now_seconds >= grant.expires_at_seconds:
        yield _refused(grant, "expired", "the grant has expired")
    if now_seconds < grant.issued_at_seconds:
        # The clock went back; nobody knows any more how old the grant is.
        yield _refused(grant, "not_yet_valid", "the grant is not valid yet")


def _refused(grant: Grant, why: str, message: str) -> GrantNotUsableError:
    return GrantNotUsableError(message, hint="Nothing may run by it. Ask for a decision again", why=why, grant=grant.id)
