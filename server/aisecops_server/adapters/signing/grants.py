"""Grants as compact JWS: Ed25519, a key of their own, and nothing in the header that a reader could be led by.

Owns the token's form: type ``grant+jwt``, the key's id, one algorithm. Ed25519 makes the same signature of the same
grant, so that what was issued can be handed out again without being kept.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization

from aisecops_server.adapters.signing.keys import SigningKey, open_key
from aisecops_server.domain import jws
from aisecops_server.domain.canonical import canonical_bytes, digest
from aisecops_server.domain.errors import GrantNotUsableError
from aisecops_server.domain.grant import Grant, claims_of, grant_of

KEY_NAME = "grants"
_TYPE = "grant+jwt"
_ALGORITHM = "EdDSA"
_TOKEN_CHARACTERS = 16 * 1024
# Most grants are redeemed moments after they were signed, by the process that signed them.
_REMEMBERED = 4096
# Times are judged by the clock that everything else is judged by.
_OPTIONS: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False, "verify_iss": False}


class GrantKey:
    """Implements ``GrantSigner`` with one key."""

    def __init__(self, key: SigningKey) -> None:
        private = key.private_key
        self._private = private
        self._public = private.public_key()
        raw = self._public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._header = {"alg": _ALGORITHM, "typ": _TYPE, "kid": digest(raw)[:16]}
        # The same of every token: the header, and the dot behind it.
        self._prefix = jws.signing_input(b"", type=_TYPE, algorithm=_ALGORITHM, key_id=self._header["kid"])
        self._signed: OrderedDict[str, Grant] = OrderedDict()

    def sign(self, grant: Grant, claims: bytes = b"") -> str:
        """Return the grant as a compact JWS."""
        payload = base64.urlsafe_b64encode(claims or canonical_bytes(claims_of(grant))).rstrip(b"=")
        signed = self._prefix + payload
        token = jws.compact(signed, self._private.sign(signed))
        if len(self._signed) >= _REMEMBERED:
            self._signed.popitem(last=False)
        self._signed[token] = grant
        return token

    def read(self, token: str) -> Grant:
        """Return the grant that was signed here as ``token``; one that was just signed needs no verifying."""
        known = self._signed.get(token)
        return self._verified(token) if known is None else known

    def _verified(self, token: str) -> Grant:
        if len(token) > _TOKEN_CHARACTERS or not token.isascii():
            raise _forged()
        try:
            if jwt.get_unverified_header(token) != self._header:
                raise _forged()
            claims = jwt.decode(token, self._public, algorithms=[_ALGORITHM], options=_OPTIONS)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _forged() from error
        return grant_of(claims)

    def key_set(self) -> bytes:
        """Return the public keys that verify grants, as a JWKS document."""
        entry = json.loads(jwt.get_algorithm_by_name(_ALGORITHM).to_jwk(self._public))
        public = {name: value for name, value in entry.items() if name != "d"}
        return canonical_bytes({"keys": [{**public, "kid": self._header["kid"], "alg": _ALGORITHM, "use": "sig"}]})


def grant_key(directory: Path) -> GrantKey:
    """Return the key of ``directory`` that signs grants, made on first use.

    Raises:
        IntegrityError: it is readable by others, is no Ed25519 key, or cannot be read or written.
    """
    return GrantKey(open_key(directory, KEY_NAME))


def _forged() -> GrantNotUsableError:
    return GrantNotUsableError(
        "the grant was not signed by this control plane", hint="Present a grant as Decide gave it", why="forged"
    )
