"""RetentionService: erasing what agents and people wrote, and holding what must not be erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from aisecops.v1 import retention_service_pb2 as api

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.retention.keeping import HeldBy, Hold
from aisecops_server.entrypoints.grpc.audit_service import checked_trace_id
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.entrypoints.grpc.methods import Gate, read_message
from aisecops_server.usecases.retention.erase_payloads import ApplyRetention, Due, EraseTrace
from aisecops_server.usecases.retention.hold_traces import HoldTraces


@dataclass(frozen=True, slots=True)
class RetentionUseCases:
    """What the service calls."""

    erase: EraseTrace
    retention: ApplyRetention
    holds: HoldTraces


@dataclass(frozen=True, slots=True)
class RetentionService:
    """The handlers of ``aisecops.v1.RetentionService``."""

    calls: RetentionUseCases
    gate: Gate

    async def plan(self, request: bytes, caller: Caller) -> AsyncIterator[api.PlanRetentionResponse]:
        """Answer PlanRetention."""
        read_message(api.PlanRetentionRequest, request)
        async for due in self.calls.retention.due():
            self.gate.still(caller)
            yield api.PlanRetentionResponse(trace=_due(due))

    async def apply(self, request: bytes, caller: Caller) -> AsyncIterator[api.ApplyRetentionResponse]:
        """Answer ApplyRetention; ends when the caller goes, or its credential does."""
        read_message(api.ApplyRetentionRequest, request)
        async for due in self.calls.retention(principal=caller.principal.id):
            self.gate.still(caller)
            yield api.ApplyRetentionResponse(trace=_due(due))

    async def erase(self, request: bytes, caller: Caller) -> api.EraseTraceResponse:
        """Answer EraseTrace."""
        asked = read_message(api.EraseTraceRequest, request)
        trace_id = checked_trace_id(asked.trace_id)
        done = await self.calls.erase(trace_id, principal=caller.principal.id, reason=asked.reason)
        return api.EraseTraceResponse(
            log_index=done.receipt.log_index, through=done.through, overwritten=done.overwritten
        )

    async def add_hold(self, request: bytes, caller: Caller) -> api.AddHoldResponse:
        """Answer AddHold."""
        asked = read_message(api.AddHoldRequest, request)
        if bool(asked.trace_ids) == bool(asked.agent_ids):
            raise InvalidRequestError("name traces, or agents, and not both", field="trace_ids")
        by, subjects = (HeldBy.TRACE, asked.trace_ids) if asked.trace_ids else (HeldBy.AGENT, asked.agent_ids)
        hold = await self.calls.holds.add(by, subjects, principal=caller.principal.id, reason=asked.reason)
        return api.AddHoldResponse(hold=_hold(hold))

    async def release_hold(self, request: bytes, caller: Caller) -> api.ReleaseHoldResponse:
        """Answer ReleaseHold."""
        asked = read_message(api.ReleaseHoldRequest, request)
        hold = await self.calls.holds.release(asked.hold_id, principal=caller.principal.id, reason=asked.reason)
        return api.ReleaseHoldResponse(hold=_hold(hold))

    async def list_holds(self, request: bytes, _caller: Caller) -> api.ListHoldsResponse:
        """Answer ListHolds."""
        asked = read_message(api.ListHoldsRequest, request)
        return api.ListHoldsResponse(holds=map(_hold, await self.calls.holds.list(released=asked.released)))


def _due(due: Due) -> api.DueTrace:
    message = api.DueTrace(
        trace_id=due.trace.trace_id,
        agent_id=due.trace.agent_id,
        days=due.retention.days,
        last_at=timestamp(due.trace.last_at_ns),
        held_by=due.held_by,
        erased=due.erased,
        problem=due.problem,
    )
    # `class` is a keyword of the language.
    setattr(message, "class", due.retention.name)
    return message


def _hold(hold: Hold) -> api.Hold:
    return api.Hold(
        hold_id=hold.id,
        trace_ids=hold.subjects if hold.by is HeldBy.TRACE else (),
        agent_ids=hold.subjects if hold.by is HeldBy.AGENT else (),
        reason=hold.reason,
        added_by=hold.added_by,
        added_at=timestamp(hold.added_at_ns),
        asked_by=hold.asked_by,
        released_by=hold.released_by,
    )
