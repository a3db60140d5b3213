"""From a gRPC error to what a person or a program is told. Loaded only when gRPC is."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from aisecops_server.cli.connection import server_address
from aisecops_server.cli.exit_codes import of_reason
from aisecops_server.cli.failures import Failure

_OF_CODE = {
    grpc.StatusCode.UNAVAILABLE: "SERVER_UNREACHABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "SERVER_UNREACHABLE",
    grpc.StatusCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    grpc.StatusCode.PERMISSION_DENIED: "NOT_PERMITTED",
    grpc.StatusCode.NOT_FOUND: "NOT_FOUND",
    grpc.StatusCode.INVALID_ARGUMENT: "INVALID_REQUEST",
    grpc.StatusCode.DATA_LOSS: "INTEGRITY",
}

_HINTS = {
    "SERVER_UNREACHABLE": "Start it with 'aisecops serve', or say where it is with --server",
    "UNAUTHENTICATED": "Make a token with 'aisecops dev token' and give it with --token-file",
    "NOT_PERMITTED": "Ask with a credential that has the role this call needs",
    "NOT_FOUND": "'aisecops trace list' shows what is recorded",
}


def remote_failure(error: Exception) -> Failure | None:
    """Return what to tell about an error of a call, or ``None`` when it is not one."""
    if not isinstance(error, grpc.RpcError) or not isinstance(error, grpc.Call):
        return None
    reason, metadata = _reason(error)
    if reason == "SERVER_UNREACHABLE":
        message = f"no control plane answers at {server_address()}"
    else:
        message = (error.details() or error.code().name).rstrip(".")
    hint = _HINTS.get(reason, "")
    return Failure(reason, message, "" if hint and hint in message else hint, of_reason(reason), metadata)


def _reason(error: grpc.Call) -> tuple[str, dict[str, str]]:
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason.removeprefix("ERROR_REASON_"), dict(info.metadata)
    return _OF_CODE.get(error.code(), error.code().name), {}
