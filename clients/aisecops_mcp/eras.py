"""Of which era a posted message is, and whether its headers say what it says.

With a handshake (to 2025-11-25) the connection says. Without (2026-07-28) each request does, and its headers repeat
what proxies and gateways on the way go by. What is decided is the body; so headers that say something else are refused
here, because somebody on the way may have gone by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aisecops_mcp import jsonrpc
from aisecops_mcp.jsonrpc import Message
from aisecops_mcp.mirrored import decoded
from aisecops_mcp.telling import MODERN

VERSION, METHOD, NAME = "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"
HANDSHAKES = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"})
# The first that lets an event say nothing but where its stream stands.
RESUMED_FROM = "2025-11-25"
MISMATCH = -32020
NAMED: Mapping[str, str] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
# What stands in a status of HTTP, of errors of the protocol without a handshake.
STATUS: Mapping[int, int] = {
    jsonrpc.PARSE_ERROR: 400,
    jsonrpc.INVALID_REQUEST: 400,
    jsonrpc.INVALID_PARAMS: 400,
    jsonrpc.METHOD_NOT_FOUND: 404,
    MISMATCH: 400,
    -32021: 400,
    -32022: 400,
}
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


# What a request's headers say, by their names in small letters.
Headers = Mapping[str, Sequence[str]]


class HeadersDifferError(Exception):
    """The headers of a message do not fit it. ``code`` is what the protocol has for that."""

    def __init__(self, why: str, code: int = MISMATCH) -> None:
        super().__init__(why)
        self.code = code


def is_modern(version: str) -> bool:
    """Return whether a request is of the era without a handshake, by the version in its headers."""
    return version not in HANDSHAKES and version != ""


def has_envelope(message: Message) -> bool:
    """Return whether a message says itself that it is of the era without a handshake."""
    meta = message.params.get("_meta")
    return isinstance(meta, Mapping) and MODERN in meta


def require_fitting(message: Message, headers: Headers) -> None:
    """Check the headers of a request of the era without a handshake against what it says.

    Raises:
        HeadersDifferError: they do not fit, or it says too little.
    """
    said = {name: headers.get(name.lower(), ()) for name in (VERSION, METHOD, NAME)}
    if twice := [name for name, values in said.items() if len(values) > 1]:
        raise HeadersDifferError(f"the header {twice[0]} is there more than once")
    meta = message.params.get("_meta")
    missing = [key for key in (MODERN, _CAPABILITIES) if not isinstance(meta, Mapping) or key not in meta]
    if missing or not isinstance(meta, Mapping):
        raise HeadersDifferError(f"params._meta has no {' and no '.join(missing)}", jsonrpc.INVALID_PARAMS)
    if list(said[VERSION]) != [meta[MODERN]]:
        raise HeadersDifferError(f"the header {VERSION} is not the version that the request says")
    if list(said[METHOD]) != [message.method]:
        raise HeadersDifferError(f"the header {METHOD} is not the method of the request")
    wanted = message.params.get(NAMED.get(message.method, ""))
    if wanted is not None and [decoded(value) for value in said[NAME]] != [wanted]:
        raise HeadersDifferError(f"the header {NAME} is not what the request names")
