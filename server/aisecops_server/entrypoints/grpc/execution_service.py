"""ExecutionService: grants that are used, calls that ran, incidents. Every answer is on record before it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from aisecops.v1 import execution_service_pb2 as api

from aisecops_server.domain.callers.identity import Principal
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.grants.incident import IncidentKind, is_incident
from aisecops_server.entrypoints.grpc import execution_codec as codec
from aisecops_server.entrypoints.grpc.admission import Admission
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.methods import Gate, read_message
from aisecops_server.entrypoints.grpc.paging import page_size
from aisecops_server.ports import EventLog
from aisecops_server.ports.grants import GrantKeyRing, GrantStore
from aisecops_server.usecases.decisions.decide import Decided
from aisecops_server.usecases.grants.complete_grant import CompleteCommand, Completed
from aisecops_server.usecases.grants.issue_grants import SignedGrant
from aisecops_server.usecases.grants.redeem_grant import Redeem
from aisecops_server.usecases.grants.report_execution import ReportCommand
from aisecops_server.usecases.grants.revoke_grants import RevokeCommand
from aisecops_server.usecases.log.rotate_key import RotateKeys

_MAX_PAGE = 500
_REASON_CHARACTERS = 1000
# A stream that finds nothing checks its credential after so many events.
_EVENTS_PER_CHECK = 256


@dataclass(frozen=True, slots=True)
class GrantUseCases:
    """What gives grants out, uses them up and follows what came of them."""

    hand_out: Callable[[Decided, Principal], Awaitable[tuple[SignedGrant, ...]]]
    redeem: Redeem
    complete: Callable[[CompleteCommand], Awaitable[Completed]]
    report: Callable[[ReportCommand], Awaitable[tuple[IncidentKind, ...]]]
    revoke: Callable[[RevokeCommand], Awaitable[int]]
    key_set: Callable[[], bytes]
    store: GrantStore


@dataclass(frozen=True, slots=True)
class ExecutionService:
    """The handlers of ``aisecops.v1.ExecutionService``."""

    grants: GrantUseCases
    rotate: RotateKeys[GrantKeyRing]
    log: EventLog
    admission: Admission
    gate: Gate

    async def redeem(self, request: bytes, caller: Caller) -> api.RedeemResponse:
        """Answer Redeem."""
        with self.admission.admit(caller.principal, weight=1):
            command = codec.redeem_command(read_message(api.RedeemRequest, request), caller.principal)
            redeemed = await self.grants.redeem(command)
        return api.RedeemResponse(grant_id=redeemed.grant.id, retried=redeemed.retried)

    async def complete(self, request: bytes, caller: Caller) -> api.CompleteResponse:
        """Answer Complete."""
        asked = read_message(api.CompleteRequest, request)
        command = CompleteCommand(caller.principal, codec.grant_id_of(asked.grant_id), codec.report_of(asked.report))
        completed = await self.grants.complete(command)
        return api.CompleteResponse(
            state=codec.state_number(completed.state),
            incidents=[kind.value for kind in completed.incidents],
            retried=completed.retried,
        )

    async def report(self, request: bytes, caller: Caller) -> api.ReportExecutionResponse:
        """Answer ReportExecution."""
        asked = read_message(api.ReportExecutionRequest, request)
        found = await self.grants.report(codec.report_command(asked, caller.principal))
        return api.ReportExecutionResponse(incidents=[kind.value for kind in found])

    async def list_grants(self, request: bytes, _caller: Caller) -> api.ListGrantsResponse:
        """Answer ListGrants."""
        asked = read_message(api.ListGrantsRequest, request)
        stored = await self.grants.store.grants_of(codec.decision_id_of(asked.decision_id))
        return api.ListGrantsResponse(grants=[codec.status_message(item) for item in stored])

    async def revoke(self, request: bytes, caller: Caller) -> api.RevokeGrantsResponse:
        """Answer RevokeGrants."""
        asked = read_message(api.RevokeGrantsRequest, request)
        if len(asked.reason) > _REASON_CHARACTERS:
            raise InvalidRequestError(f"reason: more than {_REASON_CHARACTERS} characters", field="reason")
        command = RevokeCommand(
            principal=caller.principal.id,
            reason=asked.reason,
            agent_id=asked.agent_id,
            decision_id=codec.decision_id_of(asked.decision_id) if asked.decision_id else "",
        )
        return api.RevokeGrantsResponse(revoked=await self.grants.revoke(command))

    async def keys(self, request: bytes, _caller: Caller) -> api.GetGrantKeysResponse:
        """Answer GetGrantKeys."""
        read_message(api.GetGrantKeysRequest, request)
        return api.GetGrantKeysResponse(jwks_json=self.grants.key_set(), problem=self.rotate.keys.ring.problem)

    async def rotate_key(self, request: bytes, caller: Caller) -> api.RotateGrantKeyResponse:
        """Answer RotateGrantKey."""
        asked = read_message(api.RotateGrantKeyRequest, request)
        if len(asked.reason) > _REASON_CHARACTERS:
            raise InvalidRequestError(f"reason: more than {_REASON_CHARACTERS} characters", field="reason")
        rotated = await self.rotate(principal=caller.principal.id, reason=asked.reason, revoke=asked.revoke)
        key_set = self.rotate.keys.ring.key_set()
        return api.RotateGrantKeyResponse(jwks_json=key_set, number=rotated.number, log_index=rotated.log_index)

    async def list_incidents(self, request: bytes, _caller: Caller) -> api.ListIncidentsResponse:
        """Answer ListIncidents."""
        asked = read_message(api.ListIncidentsRequest, request)
        page = await self.grants.store.incidents(
            codec.incident_filter(asked),
            page_size=page_size(asked.page_size, at_most=_MAX_PAGE),
            page_token=asked.page_token,
        )
        return api.ListIncidentsResponse(
            incidents=[codec.incident_message(stored) for stored in page.incidents], next_page_token=page.next_token
        )

    async def stream_incidents(self, request: bytes, caller: Caller) -> AsyncIterator[api.StreamIncidentsResponse]:
        """Answer StreamIncidents; ends when the caller goes, or its credential does."""
        asked = read_message(api.StreamIncidentsRequest, request)
        if asked.from_index < 0:
            raise InvalidRequestError("from_index: is negative", field="from_index")
        events = self.log.events(from_index=asked.from_index, follow=asked.follow, trace_id="")
        seen = 0
        async with aclosing(events):
            async for event in events:
                found = is_incident(event)
                if found or seen % _EVENTS_PER_CHECK == 0:
                    self.gate.still(caller)
                seen += 1
                if found:
                    yield api.StreamIncidentsResponse(incident=codec.incident_message(event))
