"""Every call of the API as raw bytes, for tests that go around the client."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator, Sequence

import grpc
from aisecops import v1
from google.rpc import error_details_pb2, status_pb2

STREAMED = {
    "/aisecops.v1.DecisionService/Session": "both",
    "/aisecops.v1.AuditService/StreamEvents": "answers",
    "/aisecops.v1.EvidenceService/ExportEvidence": "answers",
    "/aisecops.v1.ReplayService/WatchReplay": "answers",
    "/aisecops.v1.ApprovalService/Wait": "answers",
    "/aisecops.v1.ExecutionService/StreamIncidents": "answers",
    "/aisecops.v1.EdgeService/GetBundle": "answers",
    "/aisecops.v1.EdgeService/Reconcile": "both",
    "/aisecops.v1.RetentionService/PlanRetention": "answers",
    "/aisecops.v1.RetentionService/ApplyRetention": "answers",
}
# Read off the descriptors of the whole package, so that a call that is new is asked for a credential as well.
EVERY_CALL = [
    f"/{service.full_name}/{method.name}"
    for module in sorted(found.name for found in pkgutil.iter_modules(v1.__path__) if found.name.endswith("_pb2"))
    for service in importlib.import_module(f"aisecops.v1.{module}").DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
Metadata = Sequence[tuple[str, str]]


async def call(
    channel: grpc.aio.Channel, name: str, data: bytes, metadata: Metadata = (), seconds: float = 20
) -> bytes:
    """Make one call with one request; return the first answer, or an empty one when there is none."""
    match STREAMED.get(name):
        case "both":
            session = channel.stream_stream(name)(one(data), metadata=metadata, timeout=seconds)
            return await first(session)
        case "answers":
            return await first(channel.unary_stream(name)(data, metadata=metadata, timeout=seconds))
        case _:
            return bytes(await channel.unary_unary(name)(data, metadata=metadata, timeout=seconds))


async def one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def first(answers: AsyncIterator[bytes]) -> bytes:
    found = [answer async for answer in answers]
    return found[0] if found else b""


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the reason in the details of an error, or an empty string."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    assert info.domain == "aisecops"
                    return str(info.reason)
    return ""
