"""The API as JSON over HTTP on a Unix socket of this machine, for programs that live too shortly for gRPC.

``POST /aisecops.v1.Service/Method`` with the request as protobuf's JSON and a bearer token. A call goes through the
same gate as over gRPC; only calls with one answer are here. The socket (mode 0600) stands beside that of gRPC.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from aisecops_server.domain.callers.identity import Presented
from aisecops_server.domain.errors import AisecopsError, InvalidRequestError, NotFoundError, UnauthenticatedError
from aisecops_server.domain.tenants.tenant import HEADER
from aisecops_server.entrypoints.grpc import status
from aisecops_server.entrypoints.grpc.json_wire import json_of, read_json
from aisecops_server.entrypoints.grpc.local_calls import LocalCalls
from aisecops_server.entrypoints.grpc.server import MAX_REQUEST_BYTES
from aisecops_server.entrypoints.grpc.tls import named_tenant
from aisecops_server.entrypoints.local_http.listener import own_socket

SUFFIX = ".http"
# Bytes travel as base64, which is a third longer.
_MOST_BYTES = MAX_REQUEST_BYTES * 4 // 3 + 4096
_PACKAGE = "aisecops.v1."
_SERVER_FAULT, _CLIENT_FAULT = 503, 400
_CODES = {"UNAUTHENTICATED": 401, "NOT_PERMITTED": 403, "NOT_FOUND": 404}


@contextlib.asynccontextmanager
async def listening(calls: LocalCalls, beside: Path) -> AsyncIterator[Path]:
    """Serve while the block runs, on the socket that stands beside that of gRPC; gives its path.

    Raises:
        InvalidRequestError: it cannot be listened on.
    """
    path = beside.with_suffix(SUFFIX) if beside.suffix == ".sock" else beside.with_name(beside.name + SUFFIX)
    runner = web.AppRunner(_application(calls), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.SockSite(runner, _bound(path)).start()
        yield path
    finally:
        await runner.cleanup()
        path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    try:
        return own_socket(path)
    except OSError as error:
        raise InvalidRequestError(
            f"cannot listen on {path}: {error.strerror or error}",
            hint="Set listen_socket to a path in a directory of your own, and not a longer one",
            field="listen_socket",
        ) from error


def _application(calls: LocalCalls) -> web.Application:
    async def call(request: web.Request) -> web.Response:
        try:
            answer = await _answer(calls, request)
        except AisecopsError as error:
            return _failure(error)
        return web.Response(text=json_of(answer), content_type="application/json")

    made = web.Application(client_max_size=_MOST_BYTES)
    made.router.add_post("/{service}/{method}", call)
    return made


async def _answer(calls: LocalCalls, request: web.Request) -> Message:
    service, method = request.match_info["service"], request.match_info["method"]
    taken, given = _types(service, method)
    presented = _presented(request.headers.getall("Authorization", []), request.headers.getall(HEADER, []))
    try:
        asked = read_json(taken, await request.read(), limit=_MOST_BYTES)
    except web.HTTPRequestEntityTooLarge as error:
        raise InvalidRequestError("the request is larger than it may be", hint="Send less", field="body") from error
    name = f"{service.removeprefix(_PACKAGE)}/{method}"
    return await calls.unary(name, asked, given, presented=presented, peer="unix:")


def _types(service: str, method: str) -> tuple[type[Message], type[Message]]:
    try:
        found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    except KeyError as error:
        raise NotFoundError("the API has no such call", hint="POST /aisecops.v1.Service/Method") from error
    if not service.startswith(_PACKAGE):
        raise NotFoundError("the API has no such call", hint="POST /aisecops.v1.Service/Method")
    if found.client_streaming or found.server_streaming:
        raise NotFoundError("this call is a stream", hint="Call it over gRPC")
    return message_factory.GetMessageClass(found.input_type), message_factory.GetMessageClass(found.output_type)


def _presented(headers: list[str], tenants: list[str]) -> Presented:
    kind, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if kind.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("there is no token", hint="Send 'authorization: Bearer …' once")
    return Presented(token=token.strip(), tenant=named_tenant(tenants))


def _failure(error: AisecopsError) -> web.Response:
    fault = _CLIENT_FAULT if isinstance(error, InvalidRequestError) else _SERVER_FAULT
    told: dict[str, Any] = {
        "code": status.numeric_code(error),
        "reason": error.reason,
        "message": status.shown_message(error),
        "metadata": error.metadata(),
    }
    return web.Response(status=_CODES.get(error.reason, fault), text=json.dumps(told), content_type="application/json")
