"""The command line's way to a control plane: address, credential, and the API's JSON.

Imports gRPC, so commands import this module only when they call.
"""

from __future__ import annotations

from typing import Any

from aisecops_client.client import Client
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.credentials import credential
from aisecops_server.cli.failures import ServerUnreachableError
from aisecops_server.cli.invocation import current

# People wait longer for an answer than agents do.
DECISION_SECONDS = 15.0


def connect(*, agent: str = "") -> Client:
    """Return a client of the control plane that was asked for, as ``agent`` if named; it is closed by ``with``.

    Raises:
        ServerUnreachableError: there is no socket where one was looked for.
        NotPermittedError: no credential can be found.
    """
    if not current().server and not settings().socket.is_socket():
        raise ServerUnreachableError(server_address())
    client = Client.connect(server_address(), credential(agent))
    client.timeout_seconds = DECISION_SECONDS
    return client


def server_address() -> str:
    """Return the address to call: the one given, or the socket of the state directory."""
    return current().server or f"unix:{settings().socket}"


def to_json(message: Message) -> dict[str, Any]:
    """Return a message as the API's JSON, with every field, so that its shape never depends on its values."""
    found: dict[str, Any] = MessageToDict(message, always_print_fields_with_no_presence=True)
    return found
