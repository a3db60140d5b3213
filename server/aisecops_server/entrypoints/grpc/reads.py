"""Which calls show what agents and people said and did, and of what: one table, complete by a test.

Whoever makes one of them by a reader's role is on record before the answer leaves. Agents that ask for what is their
own are not: they do so at every step.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import cast

from aisecops.v1 import (
    approval_service_pb2,
    audit_service_pb2,
    decision_service_pb2,
    execution_service_pb2,
    investigation_service_pb2,
    replay_service_pb2,
)
from google.protobuf.message import DecodeError, Message

from aisecops_server.domain.log.reading import Reading
from aisecops_server.entrypoints.grpc import access
from aisecops_server.entrypoints.grpc.caller import Caller, StreamHandler, UnaryHandler

Tell = Callable[[Reading], Awaitable[None]]
# The request of each, and the fields of it that may name what is read; the first that does counts.
SUBJECT_OF_READ: Mapping[str, tuple[type[Message], tuple[str, ...]]] = {
    "/aisecops.v1.AuditService/GetTrace": (audit_service_pb2.GetTraceRequest, ("trace_id",)),
    "/aisecops.v1.AuditService/GetEvent": (audit_service_pb2.GetEventRequest, ("trace_id",)),
    "/aisecops.v1.AuditService/ListTraces": (audit_service_pb2.ListTracesRequest, ()),
    "/aisecops.v1.AuditService/ListTraceFacets": (audit_service_pb2.ListTraceFacetsRequest, ()),
    "/aisecops.v1.AuditService/StreamEvents": (audit_service_pb2.StreamEventsRequest, ("trace_id",)),
    "/aisecops.v1.DecisionService/Explain": (decision_service_pb2.ExplainRequest, ("decision_id",)),
    "/aisecops.v1.ExecutionService/ListIncidents": (execution_service_pb2.ListIncidentsRequest, ()),
    "/aisecops.v1.ExecutionService/StreamIncidents": (execution_service_pb2.StreamIncidentsRequest, ()),
    "/aisecops.v1.InvestigationService/GetExecutionGraph": (
        investigation_service_pb2.GetExecutionGraphRequest,
        ("trace_id",),
    ),
    "/aisecops.v1.InvestigationService/GetGovernanceDiff": (
        investigation_service_pb2.GetGovernanceDiffRequest,
        ("trace_id",),
    ),
    "/aisecops.v1.ReplayService/ListReplayResults": (replay_service_pb2.ListReplayResultsRequest, ("replay_id",)),
    "/aisecops.v1.ReplayService/ListFlipGroups": (replay_service_pb2.ListFlipGroupsRequest, ("replay_id",)),
    "/aisecops.v1.ReplayService/ExplainChange": (
        replay_service_pb2.ExplainChangeRequest,
        ("decision_id", "trace_id", "replay_id"),
    ),
    "/aisecops.v1.ReplayService/CompareRevisions": (replay_service_pb2.CompareRevisionsRequest, ()),
    "/aisecops.v1.ReplayService/BisectDecisions": (replay_service_pb2.BisectDecisionsRequest, ("trace_id",)),
    "/aisecops.v1.ApprovalService/ListApprovals": (approval_service_pb2.ListApprovalsRequest, ()),
    "/aisecops.v1.ApprovalService/GetApproval": (approval_service_pb2.GetApprovalRequest, ("approval_id",)),
    "/aisecops.v1.ApprovalService/Wait": (approval_service_pb2.WaitRequest, ("approval_id",)),
}
# Longer is no id of anything.
_SUBJECT_CHARACTERS = 64


def told(call: str, handler: UnaryHandler, tell: Tell | None) -> UnaryHandler:
    """Return ``handler``; where the call reads what is on record, its answer leaves behind ``tell``."""
    if tell is None or call not in SUBJECT_OF_READ:
        return handler

    async def telling(request: bytes, caller: Caller) -> Message:
        answer = await handler(request, caller)
        # Who asks for what is not there reads nothing, and could else fill the log with names that they made up.
        await _tell(tell, call, request, caller)
        return answer

    return telling


def told_stream(call: str, handler: StreamHandler, tell: Tell | None) -> StreamHandler:
    """Return ``handler``; where the call reads what is on record, its first answer leaves behind ``tell``.

    A stream of nothing in particular is told of before it is opened: who exports the whole log has the head that the
    log has then, with their own reading in it.
    """
    if tell is None or call not in SUBJECT_OF_READ:
        return handler

    async def telling(request: bytes, caller: Caller) -> AsyncIterator[Message]:
        is_told = not _subject(call, request)
        if is_told:
            await _tell(tell, call, request, caller)
        # Whoever goes away in the middle gives back at once what the handler holds.
        async with contextlib.aclosing(cast("AsyncGenerator[Message]", handler(request, caller))) as answers:
            async for answer in answers:
                if not is_told:
                    await _tell(tell, call, request, caller)
                    is_told = True
                yield answer

    return telling


async def _tell(tell: Tell, call: str, request: bytes, caller: Caller) -> None:
    if access.is_reader(caller.principal):
        await tell(Reading(caller.principal.id, call.rpartition(".")[2], _subject(call, request)))


def _subject(call: str, request: bytes) -> str:
    kind, fields = SUBJECT_OF_READ[call]
    try:
        asked = kind.FromString(request)
    except (DecodeError, RecursionError):
        # The handler refuses it.
        return ""
    named = (str(getattr(asked, field)) for field in fields)
    return next((name[:_SUBJECT_CHARACTERS] for name in named if name), "")
