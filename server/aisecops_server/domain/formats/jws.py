"""Compact JSON Web Signatures (RFC 7515): how they are put together and taken apart. Keys and signing stand elsewhere.

One form is read: three parts, a header of exactly ``alg``, ``kid`` and ``typ``, each part in the one spelling that
base64url has for it. Headers that tell a reader where to find a key, or that change how a signature is read, are an
attack. The key says which algorithm verifies; the header only has to agree.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.formats.strict_json import parse_object

_PARTS = 3
_HEADER_BYTES = 512
_HEADERS = frozenset({"alg", "kid", "typ"})
# What a key's thumbprint is made of (RFC 7638), by its type.
_THUMBPRINT_MEMBERS = {"OKP": ("crv", "kty", "x"), "EC": ("crv", "kty", "x", "y")}
_ALGORITHMS = {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256"}


@dataclass(frozen=True, slots=True)
class Jws:
    """A signed payload, taken apart and not verified."""

    algorithm: str
    key_id: str
    type: str
    payload: bytes
    signed: bytes
    signature: bytes


def signing_input(payload: bytes, *, type: str, algorithm: str, key_id: str) -> bytes:
    """Return the bytes that a key signs."""
    header = canonical_bytes({"alg": algorithm, "kid": key_id, "typ": type})
    return f"{_encoded(header)}.{_encoded(payload)}".encode()


def compact(signed: bytes, signature: bytes) -> str:
    """Return the compact form of what was signed with its signature."""
    return f"{signed.decode()}.{_encoded(signature)}"


def read(token: str, *, field: str, most_bytes: int) -> Jws:
    """Return the parts of a compact JWS.

    Raises:
        InvalidRequestError: ``field`` holds something else.
    """
    parts = token.split(".")
    if len(token) > most_bytes or len(parts) != _PARTS:
        raise _refused(field, "is not a compact JWS")
    header_bytes, payload, signature = (_decoded(part, field) for part in parts)
    header = parse_object(header_bytes, field=field, limit=_HEADER_BYTES)
    if header.keys() != _HEADERS or not all(isinstance(value, str) for value in header.values()):
        raise _refused(field, "has a header that is not exactly alg, kid and typ")
    signed = token.rpartition(".")[0].encode()
    return Jws(str(header["alg"]), str(header["kid"]), str(header["typ"]), payload, signed, signature)


def algorithm_of(key: Mapping[str, JsonValue]) -> str:
    """Return the only algorithm that a public key (RFC 7517) verifies, or an empty string for a key of no use here."""
    return _ALGORITHMS.get((str(key.get("kty")), str(key.get("crv"))), "")


def thumbprint(key: Mapping[str, JsonValue]) -> str:
    """Return the name of a public key: its RFC 7638 thumbprint, in hexadecimal."""
    members = _THUMBPRINT_MEMBERS.get(str(key.get("kty")), ())
    return digest(canonical_bytes({name: key.get(name) for name in members}))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(part: str, field: str) -> bytes:
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused(field, "is not base64url") from error
    if _encoded(data) != part:
        raise _refused(field, "is not base64url in its one spelling")
    return data


def _refused(field: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {why}", hint="Send what the signing tool wrote", field=field)
