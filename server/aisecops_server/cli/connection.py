"""The command line's way to a control plane: address, credential, and the API's JSON.

Imports gRPC, so commands import this module only when they call.
"""

from __future__ import annotations

import os
from typing import Any

import grpc
from aisecops_client.aio import AsyncClient
from aisecops_client.client import Client
from aisecops_client.transport import is_local, tls
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.credentials import CA_VARIABLE, SYSTEM, credential, tls_given
from aisecops_server.cli.failure import ServerUnreachableError
from aisecops_server.cli.invocation import current
from aisecops_server.domain.errors import InvalidRequestError

# People wait longer for an answer than agents do.
DECISION_SECONDS = 15.0
SERVER_VARIABLE = "AISECOPS_SERVER"


def connect(*, agent: str = "") -> Client:
    """Return a client of the control plane that was asked for, as ``agent`` if named; it is closed by ``with``.

    Raises:
        ServerUnreachableError: there is no socket where one was looked for.
        NotPermittedError: no credential can be found.
        InvalidRequestError: what was given for TLS does not fit together, or is needed and was not given.
    """
    address = server_address()
    credentials = _tls(address)
    if not _named() and not settings().socket.is_socket():
        raise ServerUnreachableError(address)
    client = Client.connect(address, credential(agent), credentials=credentials, tenant=settings().tenant)
    client.timeout_seconds = DECISION_SECONDS
    return client


def connect_async(*, agent: str = "") -> AsyncClient:
    """Return a client for asyncio; unlike ``connect`` it is one too where no control plane is there yet.

    Raises:
        NotPermittedError: no credential can be found.
        InvalidRequestError: what was given for TLS does not fit together, or is needed and was not given.
    """
    address = server_address()
    return AsyncClient.connect(address, credential(agent), credentials=_tls(address), tenant=settings().tenant)


def connect_with(token: str) -> AsyncClient:
    """Return a client for asyncio that shows ``token``.

    Raises:
        InvalidRequestError: what was given for TLS does not fit together, or is needed and was not given.
    """
    address = server_address()
    return AsyncClient.connect(address, token, credentials=_tls(address), tenant=settings().tenant)


def ask_health(seconds: float) -> str:
    """Return the control plane's state by the standard health service, which asks nobody who they are.

    Raises:
        ServerUnreachableError: nobody answers in ``seconds``.
        InvalidRequestError: what was given for TLS does not fit together, or is needed and was not given.
    """
    address = server_address()
    credentials = _tls(address)
    channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    with channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=seconds)
        except grpc.RpcError as error:
            raise ServerUnreachableError(address) from error
    state: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return state


def server_address() -> str:
    """Return the address to call: the one given on the line or in the environment, or the state directory's socket."""
    return _named() or f"unix:{settings().socket}"


def _named() -> str:
    return current().server or os.environ.get(SERVER_VARIABLE, "")


def _tls(address: str) -> grpc.ChannelCredentials | None:
    files = tls_given()
    if files is None:
        if not is_local(address):
            raise InvalidRequestError(
                f"{address} is not on this machine, so it is reached over TLS only",
                hint=f"Say by --ca FILE (or {CA_VARIABLE}) which authority its certificate comes from, or --ca system",
                field="ca",
            )
        return None
    if address.startswith("unix:"):
        raise InvalidRequestError(
            "a certificate says who asks over TLS, and a Unix socket has none",
            hint="Name the control plane with --server HOST:PORT, or leave --ca and --cert away",
            field="server",
        )
    ca = None if files.ca in ("", SYSTEM) else files.ca
    return tls(ca=ca, certificate=files.certificate or None, key=files.key or None)


def to_json(message: Message) -> dict[str, Any]:
    """Return a message as the API's JSON, with every field, so that its shape never depends on its values."""
    found: dict[str, Any] = MessageToDict(message, always_print_fields_with_no_presence=True)
    return found
