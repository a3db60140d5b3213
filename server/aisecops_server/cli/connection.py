"""The command line's way to a control plane: address, credential, and the API's JSON.

Imports gRPC, so commands import this module only when they call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from aisecops.v1.audit_service_pb2_grpc import AuditServiceStub
from aisecops.v1.bundle_service_pb2_grpc import BundleServiceStub
from aisecops.v1.decision_service_pb2_grpc import DecisionServiceStub
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.credentials import credential
from aisecops_server.cli.invocation import current

CALL_SECONDS = 60.0
_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Api:
    """The services of one control plane."""

    decisions: DecisionServiceStub
    bundles: BundleServiceStub
    audit: AuditServiceStub
    metadata: tuple[tuple[str, str], ...]

    def call(self, method: Any, request: Message) -> Any:
        """Call one method with the credential and a deadline."""
        return method(request, metadata=self.metadata, timeout=CALL_SECONDS)

    def stream(self, method: Any, request: Message) -> Iterator[Any]:
        """Call one streaming method; it ends when either side ends it."""
        answers: Iterator[Any] = method(request, metadata=self.metadata)
        return answers


@contextmanager
def connect() -> Iterator[Api]:
    """Yield the services of the control plane that was asked for.

    Raises:
        NotPermittedError: no credential can be found.
    """
    address = server_address()
    token = credential()
    options = [
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        # Over a Unix socket there is no name to send; a fixed one keeps strict servers content.
        ("grpc.default_authority", "localhost"),
    ]
    with grpc.insecure_channel(address, options=options) as channel:
        yield Api(
            DecisionServiceStub(channel),
            BundleServiceStub(channel),
            AuditServiceStub(channel),
            (("authorization", f"Bearer {token}"),) if token else (),
        )


def server_address() -> str:
    """Return the address to call: the one given, or the socket of the state directory."""
    return current().server or f"unix:{settings().socket}"


def to_json(message: Message) -> dict[str, Any]:
    """Return a message as the API's JSON, with every field, so that its shape never depends on its values."""
    found: dict[str, Any] = MessageToDict(message, always_print_fields_with_no_presence=True)
    return found
