"""From an error to a gRPC status: the only table, and the only ``abort``.

A denial never comes here: it is an answer. Texts of foreign exceptions never cross the wire.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError, OverloadedError

DOMAIN = "aisecops"
DETAILS_KEY = "grpc-status-details-bin"
# Trailers share eight kilobytes, and characters outside ASCII take up to nine bytes there.
_MESSAGE_CHARACTERS = 500
_METADATA_CHARACTERS = 200

_REFUSAL_KINDS = 256
_REFUSALS: dict[tuple[object, ...], bytes] = {}

_logger = logging.getLogger(__name__)

CODE_OF_REASON: Mapping[str, grpc.StatusCode] = {
    "INVALID_PLAN": grpc.StatusCode.INVALID_ARGUMENT,
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "NOT_PERMITTED": grpc.StatusCode.PERMISSION_DENIED,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_REVISION": grpc.StatusCode.NOT_FOUND,
    "IDEMPOTENCY_CONFLICT": grpc.StatusCode.ALREADY_EXISTS,
    "OVERLOADED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "CONTENDED": grpc.StatusCode.ABORTED,
    "BUNDLE_REJECTED": grpc.StatusCode.FAILED_PRECONDITION,
    "SEALED": grpc.StatusCode.FAILED_PRECONDITION,
    "APPROVAL_NOT_USABLE": grpc.StatusCode.FAILED_PRECONDITION,
    "GRANT_NOT_USABLE": grpc.StatusCode.FAILED_PRECONDITION,
    "RECORDS_REFUSED": grpc.StatusCode.FAILED_PRECONDITION,
    "HELD": grpc.StatusCode.FAILED_PRECONDITION,
    "ROLLOUT_REFUSED": grpc.StatusCode.FAILED_PRECONDITION,
    "NO_DECISION": grpc.StatusCode.UNAVAILABLE,
    "ENGINE_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "NO_LIVE_REVISION": grpc.StatusCode.UNAVAILABLE,
    "POLICY_STALE": grpc.StatusCode.UNAVAILABLE,
    "LOG_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "GRANT_KEY_MISSING": grpc.StatusCode.UNAVAILABLE,
    "SIGNING_KEY_MISSING": grpc.StatusCode.UNAVAILABLE,
    "REPOSITORY_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "INTEGRITY": grpc.StatusCode.DATA_LOSS,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}

# An error that knows better than the table when to come again says so by this key.
RETRY = "retry_milliseconds"
RETRY_MILLISECONDS: Mapping[str, int] = {
    "CONTENDED": 20,
    "OVERLOADED": 50,
    "ENGINE_UNAVAILABLE": 200,
    "NO_LIVE_REVISION": 1_000,
    "LOG_UNAVAILABLE": 1_000,
    "GRANT_KEY_MISSING": 1_000,
    "SIGNING_KEY_MISSING": 1_000,
    "REPOSITORY_UNAVAILABLE": 5_000,
}


def as_known(error: Exception) -> AisecopsError:
    """Return ``error`` itself, or the neutral error that stands for an unexpected one, which is logged here."""
    if isinstance(error, AisecopsError):
        return error
    if isinstance(error, TimeoutError):
        return EngineUnavailableError(
            "no answer within the deadline",
            hint="Nothing was allowed. Retry with an idempotency key",
            why="deadline",
        )
    _logger.error("unexpected error in a call", exc_info=error)
    return AisecopsError("a fault of the control plane", hint="Nothing was allowed. Its own log says what happened")


def code_of(error: AisecopsError) -> grpc.StatusCode:
    """Return the gRPC code of an error; one that the table does not know is internal."""
    return CODE_OF_REASON.get(error.reason, grpc.StatusCode.INTERNAL)


def numeric_code(error: AisecopsError) -> int:
    """Return the number of the error's gRPC code."""
    number: int = code_of(error).value[0]
    return number


def shown_message(error: AisecopsError) -> str:
    """Return the text that callers may see."""
    return error.diagnostics()[:_MESSAGE_CHARACTERS]


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: AisecopsError) -> NoReturn:
    """End a call with ``error``."""
    details = _refusal(error) if isinstance(error, OverloadedError) else _serialized(error)
    await context.abort(code_of(error), shown_message(error), trailing_metadata=((DETAILS_KEY, details),))
    raise AssertionError("abort returned")  # pragma: no cover


def _refusal(error: OverloadedError) -> bytes:
    """Return the details of a refusal. They come by the thousand and are of a few kinds, and have nobody's data."""
    kind = (error.diagnostics(), *sorted(error.metadata().items()))
    found = _REFUSALS.get(kind)
    if found is None:
        if len(_REFUSALS) >= _REFUSAL_KINDS:
            _REFUSALS.clear()
        found = _REFUSALS[kind] = _serialized(error)
    return found


def message_of(error: AisecopsError) -> status_pb2.Status:
    """Return an error as the API's own message, with its details."""
    status = status_pb2.Status(code=numeric_code(error), message=shown_message(error))
    status.details.extend(_packed(detail) for detail in _details(error))
    return status


def retry_milliseconds(error: AisecopsError) -> int:
    """Return when to come again; 0 where that would be in vain."""
    return int(error.metadata().get(RETRY, RETRY_MILLISECONDS.get(error.reason, 0)))


def _serialized(error: AisecopsError) -> bytes:
    return bytes(message_of(error).SerializeToString())


def _details(error: AisecopsError) -> list[Message]:
    metadata = {_camel(key): value[:_METADATA_CHARACTERS] for key, value in error.metadata().items()}
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if "field" in metadata:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=metadata["field"], description=shown_message(error)
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    delay = retry_milliseconds(error)
    if delay:
        duration = Duration(seconds=delay // 1000, nanos=delay % 1000 * 1_000_000)
        details.append(error_details_pb2.RetryInfo(retry_delay=duration))
    return details


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def _camel(key: str) -> str:
    head, *tail = key.split("_")
    return head + "".join(part.capitalize() for part in tail)
