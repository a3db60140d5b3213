"""The form of a grant's token, read strictly: whatever is not exactly a grant is none.

Nothing here is proof: a signature is checked in ``verifier``, or by the control plane when the grant is redeemed.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ISSUER = "aisecops"
CREDENTIAL = "credential#S256"
_MOST_CHARACTERS = 16 * 1024
_TYPE, _ALGORITHM = "grant+jwt", "EdDSA"
_PARTS = 3


class GrantRefusedError(Exception):
    """The call may not run. ``why`` says in one word what is wrong."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart: what was signed, by which key, and what it says."""

    signed: bytes
    signature: bytes
    key_id: str
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GrantClaims:
    """What a grant says. ``thumbprint`` is the SHA-256 of the certificate that it was given to; empty if to a token."""

    id: str
    server: str
    agent_id: str
    thumbprint: str
    decision_id: str
    trace_id: str
    plan_hash: str
    step_id: str
    step_index: int
    tool: str
    arguments_sha256: str
    obligations: tuple[Mapping[str, Any], ...] = field(repr=False)
    issued_at: int
    expires_at: int


def take_apart(token: str) -> Token:
    """Return the parts of a compact JWS.

    Raises:
        GrantRefusedError: it has not exactly the form of a grant.
    """
    parts = token.split(".") if isinstance(token, str) and len(token) <= _MOST_CHARACTERS else []
    if len(parts) != _PARTS:
        raise _malformed()
    header, payload, signature = map(_decoded, parts)
    head = _object(header)
    key_id = head.get("kid")
    # A header that says more than this tells readers what to do, which is how they are led astray.
    if head != {"alg": _ALGORITHM, "typ": _TYPE, "kid": key_id} or not isinstance(key_id, str):
        raise _malformed()
    return Token(f"{parts[0]}.{parts[1]}".encode(), signature, key_id, _object(payload))


def claims_of(token: Token) -> GrantClaims:
    """Return what a token says.

    Raises:
        GrantRefusedError: it says not everything that a grant says.
    """
    claims = token.claims
    try:
        obligations = tuple(_mapping(item) for item in _typed(claims["obligations"], list))
        found = GrantClaims(
            id=_typed(claims["jti"], str),
            server=_typed(claims["aud"], str),
            agent_id=_typed(claims["sub"], str),
            thumbprint=_typed(_mapping(claims["cnf"])[CREDENTIAL], str) if "cnf" in claims else "",
            decision_id=_typed(claims["decision_id"], str),
            trace_id=_typed(claims["trace_id"], str),
            plan_hash=_typed(claims["plan_hash"], str),
            step_id=_typed(claims["step_id"], str),
            step_index=_typed(claims["step_index"], int),
            tool=_typed(claims["tool"], str),
            arguments_sha256=_typed(claims["arguments_sha256"], str),
            obligations=obligations,
            issued_at=_typed(claims["iat"], int),
            expires_at=_typed(claims["exp"], int),
        )
    except (KeyError, TypeError) as error:
        raise _malformed() from error
    if claims.get("iss") != ISSUER or not found.tool.startswith(f"{found.server}/"):
        raise _malformed()
    return found


def _decoded(part: str) -> bytes:
    try:
        found = base64.b64decode(part.encode("ascii") + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise _malformed() from error
    # Two spellings of the same bytes would be two tokens for one grant.
    if base64.urlsafe_b64encode(found).rstrip(b"=") != part.encode("ascii"):
        raise _malformed()
    return found


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    if not isinstance(found, dict):
        raise _malformed()
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(kind.__name__)
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _typed(value, dict)
    return found


def _malformed() -> GrantRefusedError:
    return GrantRefusedError("malformed", "this is not a grant")
