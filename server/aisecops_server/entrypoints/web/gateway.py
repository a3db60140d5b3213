"""The API as JSON over HTTP: ``POST /api/v1/{Service}/{Method}`` is that call, behind the gate of the gRPC services.

Ordering rules: the call must exist, then what the browser says of where it comes from, then who asks and whether they
may, then room for it; only then the body is read. A session's cookie proves nobody here, so no page elsewhere can use
it. Errors are ``google.rpc.Status`` with the details that gRPC gives.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aisecops_server.domain.callers.identity import Presented
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, NotFoundError
from aisecops_server.domain.formats.trace_parent import HEADER, NOWHERE, TraceParent, read_trace_parent
from aisecops_server.domain.tenants.tenant import HEADER as TENANT_HEADER
from aisecops_server.entrypoints.grpc import status
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.json_wire import json_of, read_json
from aisecops_server.entrypoints.grpc.local_calls import LocalCalls
from aisecops_server.entrypoints.grpc.server import MAX_REQUEST_BYTES
from aisecops_server.entrypoints.grpc.tls import bearer_token, named_tenant
from aisecops_server.entrypoints.web.event_stream import PACE, Pace, beginning, reads_the_log, resumed
from aisecops_server.entrypoints.web.headers import require_own_origin
from aisecops_server.ports.log_trace import begin_trace

PACKAGE = "aisecops.v1."
# Bytes travel as base64, which is a third longer.
MOST_BYTES = MAX_REQUEST_BYTES * 4 // 3 + 4096
TIMEOUT = "grpc-timeout"
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_JSON = "application/json"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_NOT_A_METHOD, _TOO_LARGE, _NOT_JSON = 405, 413, 415
# As google/rpc/code.proto maps them.
HTTP_OF_CODE: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


def routes(calls: LocalCalls, pace: Pace = PACE) -> list[BaseRoute]:
    """Return where the API is; everything else under ``/api/`` is refused in its own form."""
    gateway = _Gateway(calls, pace)
    return [
        Route("/api/openapi.json", _document),
        Route("/api/v1/{service}/{method}", gateway.call, methods=_METHODS),
        Route("/api/{rest:path}", gateway.nothing, methods=_METHODS),
    ]


async def _document(_request: Request) -> Response:
    """Answer with the OpenAPI document, which is nobody's secret."""
    return Response(_written(), media_type=_JSON)


@functools.cache
def _written() -> bytes:
    return resources.files("aisecops_server.entrypoints.web").joinpath("openapi.json").read_bytes()


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that the API has: ``Service/Method`` and its messages."""

    name: str
    request: type[Message]
    streams: bool


class _RefusedError(Exception):
    """A request of HTTP that is no call, with the HTTP code that says so better than the API's own."""

    def __init__(self, code: int, error: AisecopsError) -> None:
        super().__init__(error.message)
        self.code = code
        self.error = error


@dataclass(frozen=True, slots=True)
class _Gateway:
    calls: LocalCalls
    pace: Pace

    async def nothing(self, request: Request) -> Response:
        """Answer where no call is."""
        return _failure(_no_call(request.url.path))

    async def call(self, request: Request) -> Response:
        """Make one call."""
        try:
            return await self._answer(request)
        except _RefusedError as refused:
            return _failure(refused.error, refused.code)
        except Exception as error:  # noqa: BLE001 - the last line: every error becomes a status here
            return _failure(status.as_known(error))

    async def _answer(self, request: Request) -> Response:
        call = _call_of(request.path_params["service"], request.path_params["method"])
        if request.method != "POST":
            told = InvalidRequestError("a call is made by POST", hint="Send its request as the body", field="method")
            raise _RefusedError(_NOT_A_METHOD, told)
        require_own_origin(request)
        caller = self._let_in(request, call)
        async with asyncio.timeout(caller.seconds):
            _require_json(request)
            asked = read_json(call.request, await _body(request), limit=MOST_BYTES)
            if not call.streams:
                answer = await self.calls.answer(caller, asked.SerializeToString())
                return Response(json_of(answer), media_type=_JSON)
            resumed(asked, request.headers.getlist("last-event-id"))
        seconds = caller.seconds if TIMEOUT in request.headers else None
        answers = self.calls.answers(caller, asked.SerializeToString())
        return await beginning(answers, pace=self.pace, places=reads_the_log(asked), seconds=seconds)

    def _let_in(self, request: Request, call: _Call) -> Caller:
        parent = _parent_of(request)
        begin_trace(parent.trace_id)
        return self.calls.begin(
            call.name,
            lambda: Presented(
                token=bearer_token(request.headers.getlist("authorization")),
                tenant=named_tenant(request.headers.getlist(TENANT_HEADER)),
            ),
            peer=request.client.host if request.client else "",
            seconds=_seconds(request.headers.getlist(TIMEOUT)),
            parent=parent,
        )


def _call_of(service: str, method: str) -> _Call:
    try:
        found = descriptor_pool.Default().FindServiceByName(PACKAGE + service).methods_by_name[method]
    except KeyError as error:
        raise _no_call(f"{service}/{method}") from error
    if found.client_streaming:
        told = NotFoundError(f"{service}/{method} takes many requests", hint="Call it over gRPC")
        raise _RefusedError(HTTP_OF_CODE[grpc.StatusCode.UNIMPLEMENTED], told)
    return _Call(f"{service}/{method}", message_factory.GetMessageClass(found.input_type), found.server_streaming)


def _no_call(name: str) -> NotFoundError:
    return NotFoundError(f"the API has no call {name[:100]}", hint="POST /api/v1/Service/Method; see /api/openapi.json")


def _require_json(request: Request) -> None:
    # A page elsewhere cannot send this type without asking first, and nobody here answers that it may.
    kind, _, parameter = request.headers.get("content-type", "").lower().partition(";")
    is_json = kind.strip() == _JSON and parameter.strip() in ("", "charset=utf-8")
    if not is_json or request.headers.get("content-encoding", "identity").lower() != "identity":
        told = InvalidRequestError("the body is not plain JSON", hint=f"Send Content-Type: {_JSON}", field="body")
        raise _RefusedError(_NOT_JSON, told)


async def _body(request: Request) -> bytes:
    told = InvalidRequestError(f"the body has more than {MOST_BYTES} bytes", hint="Send less at once", field="body")
    length = request.headers.get("content-length", "0")
    # Longer spellings cannot be converted fast, and are too large anyhow.
    if len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
        raise _RefusedError(_TOO_LARGE, told)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise _RefusedError(_TOO_LARGE, told)
    return bytes(body)


def _seconds(values: list[str]) -> float | None:
    if not values:
        return None
    found = _TIMEOUT.fullmatch(values[0])
    if len(values) > 1 or found is None:
        raise InvalidRequestError(f"{TIMEOUT}: not a time", hint="Such as 5S or 500m, once", field=TIMEOUT)
    return int(found[1]) * _SECONDS[found[2]]


def _parent_of(request: Request) -> TraceParent:
    values = request.headers.getlist(HEADER)
    return read_trace_parent(values[0]) if len(values) == 1 else NOWHERE


def _failure(error: AisecopsError, code: int = 0) -> Response:
    http = code or HTTP_OF_CODE[status.code_of(error)]
    headers = {}
    if http == HTTP_OF_CODE[grpc.StatusCode.UNAUTHENTICATED]:
        headers["WWW-Authenticate"] = "Bearer"
    if http == _NOT_A_METHOD:
        headers["Allow"] = "POST"
    if delay := status.retry_milliseconds(error):
        headers["Retry-After"] = str(math.ceil(delay / 1000))
    return Response(json_of(status.message_of(error)), http, media_type=_JSON, headers=headers)
