"""From an error of a call to what a person or a program is told. Loaded only when gRPC is."""

from __future__ import annotations

import grpc
from aisecops_client.errors import AisecopsClientError

from aisecops_server.cli.connection import server_address
from aisecops_server.cli.exit_codes import of_reason
from aisecops_server.cli.failure import Failure, unreachable_hint

# What a call that never reached a servicer says; servicers send reasons of their own.
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
    "UNAUTHENTICATED": "Make a token with 'aisecops dev token' and give it with --token-file",
    "NOT_PERMITTED": "Ask with a credential that has the role this call needs",
    "NOT_FOUND": "'aisecops trace list' shows what is recorded",
    "INVALID_REQUEST": "'--help' after the command shows what it takes; ids are given whole, as they were printed",
    "UNKNOWN_REVISION": "'aisecops bundle list' shows the commits of the policy repository",
}
# What a refused handshake looks like from here is a closed connection.
_TCP_HINT = (
    "Is it up? Over TLS, --ca names its authority, and --cert a certificate that it accepts and that has not expired"
)


def remote_failure(error: Exception) -> Failure | None:
    """Return what to tell about an error of a call, or ``None`` when it is not one."""
    if not isinstance(error, AisecopsClientError):
        return None
    reason = error.reason or _OF_CODE.get(error.code, error.code.name)
    message = error.message.rstrip(".")
    if reason == "SERVER_UNREACHABLE":
        message = f"no control plane answers at {server_address()}"
    # Messages of the control plane end with their own hint.
    hint = "" if ". " in message else _HINTS.get(reason, "")
    if reason == "SERVER_UNREACHABLE":
        hint = unreachable_hint() if server_address().startswith("unix:") else unreachable_hint(_TCP_HINT)
    message, _, own = message.partition(". ") if not hint else (message, "", "")
    return Failure(reason, message, hint or own, of_reason(reason), dict(error.metadata))
