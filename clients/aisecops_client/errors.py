"""Why a call gave no answer. Whatever is raised here means: do not act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from aisecops.v1 import decision_service_pb2
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
# What carries a status: calls of the blocking API, and errors of the other one.
_ENDED = (grpc.Call, grpc.aio.AioRpcError)
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(eq=False)
class AisecopsClientError(Exception):
    """The control plane gave no decision. ``reason`` is a value of ``aisecops.v1.ErrorReason`` without its prefix.

    ``retry_after_seconds`` is set where a retry helps; give the same idempotency key then.
    """

    message: str
    code: grpc.StatusCode
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None

    def __str__(self) -> str:
        """Return the reason and the message."""
        return f"{self.reason or self.code.name}: {self.message}"


class RequestRefusedError(AisecopsClientError):
    """The request breaks the contract; ``metadata["field"]`` names where. The same request fails again."""


class AccessRefusedError(AisecopsClientError):
    """The credential does not verify, or its roles do not include the call."""


class NotFoundError(AisecopsClientError):
    """There is no such trace, decision or revision."""


class ApprovalNotUsableError(AisecopsClientError):
    """An approval does not stand for the plan, or takes no vote; ``metadata["why"]`` says why, such as `expired`."""


class RetryLaterError(AisecopsClientError):
    """The control plane is overloaded or cannot decide at the moment."""


class FaultError(AisecopsClientError):
    """The control plane is at fault, sealed, or its record does not verify: an operator must act."""


_KINDS: Mapping[grpc.StatusCode, type[AisecopsClientError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: RequestRefusedError,
    grpc.StatusCode.ALREADY_EXISTS: RequestRefusedError,
    grpc.StatusCode.UNAUTHENTICATED: AccessRefusedError,
    grpc.StatusCode.PERMISSION_DENIED: AccessRefusedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAVAILABLE: RetryLaterError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RetryLaterError,
    grpc.StatusCode.DEADLINE_EXCEEDED: RetryLaterError,
    grpc.StatusCode.ABORTED: RetryLaterError,
    # Ended by the library at a control plane that cannot take it up for the flood, or that stops: it was never begun.
    grpc.StatusCode.CANCELLED: RetryLaterError,
}

_KINDS_OF_REASON: Mapping[str, type[AisecopsClientError]] = {"APPROVAL_NOT_USABLE": ApprovalNotUsableError}


def from_rpc_error(error: grpc.RpcError) -> AisecopsClientError:
    """Return the typed error of a failed call."""
    code = error.code() if isinstance(error, _ENDED) else grpc.StatusCode.UNKNOWN
    details = error.details() if isinstance(error, _ENDED) else str(error)
    said = _Said()
    trailers = error.trailing_metadata() if isinstance(error, _ENDED) else None
    for key, value in trailers or ():
        if key == _DETAILS_KEY:
            said.read(value)
    found = _kind(code, said.reason)(details or "", code, said.reason, said.metadata, said.retry_after_seconds)
    if _is_unreached(found):
        return _unreached(found)
    return _too_large() if _is_transport_refusal(found) else found


def _is_unreached(found: AisecopsClientError) -> bool:
    return found.code is grpc.StatusCode.UNAVAILABLE and not found.reason and "failed to connect" in found.message


def _unreached(found: AisecopsClientError) -> AisecopsClientError:
    message = f"no control plane answers. Is 'aisecops serve' running, and is this its address? {found.message}"
    return RetryLaterError(message, found.code)


def _kind(code: grpc.StatusCode, reason: str) -> type[AisecopsClientError]:
    return _KINDS_OF_REASON.get(reason) or _KINDS.get(code, FaultError)


def _is_transport_refusal(found: AisecopsClientError) -> bool:
    # The control plane names a reason whenever it refuses; gRPC itself refuses a message for its size before that.
    return found.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not found.reason and "larger than max" in found.message


def _too_large() -> AisecopsClientError:
    message = "the request is larger than a message may be. Send less: a source may be given by its digest alone"
    return RequestRefusedError(message, grpc.StatusCode.RESOURCE_EXHAUSTED, "INVALID_REQUEST")


def from_item_error(error: decision_service_pb2.ItemError) -> AisecopsClientError:
    """Return the typed error of one item of a batch or one message of a session."""
    code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
    metadata = {"field": error.field} if error.field else {}
    return _kind(code, error.reason)(error.message, code, error.reason, metadata)


@dataclass(slots=True)
class _Said:
    """What the control plane says of an error beside its status."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None

    def read(self, data: bytes | str) -> None:
        """Take in the details of a status."""
        for detail in status_pb2.Status.FromString(data).details if isinstance(data, bytes) else ():
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(retry):
                self.retry_after_seconds = retry.retry_delay.ToTimedelta().total_seconds()
