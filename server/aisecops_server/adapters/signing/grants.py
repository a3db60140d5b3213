"""Grants as compact JWS: Ed25519, a key of their own, and nothing in the header that a reader could be led by.

Owns the token's form: type ``grant+jwt``, the key's id, one algorithm. Ed25519 makes the same signature of the same
grant, so that what was issued can be handed out again without being kept.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aisecops_server.domain.errors import GrantKeyMissingError, GrantNotUsableError
from aisecops_server.domain.formats import jws
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes, digest
from aisecops_server.domain.grants.grant import Grant, claims_of, grant_of
from aisecops_server.domain.log.grant_keys import GRACE_SECONDS, LONGEST_SECONDS, SKEW_SECONDS
from aisecops_server.domain.log.key_rotation import KeyChain, ReplacedKey
from aisecops_server.ports import Clock, Signer

_TYPE = "grant+jwt"
_ALGORITHM = "EdDSA"
_TOKEN_CHARACTERS = 16 * 1024
# Most grants are redeemed moments after they were signed, by the process that signed them.
_REMEMBERED = 4096
_SECOND = 1_000_000_000
# Times are judged by the clock that everything else is judged by.
_OPTIONS: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False, "verify_iss": False}


class GrantVerifier:
    """Knows again what one key signed, by its public half."""

    def __init__(self, public_raw: bytes) -> None:
        self.public_raw = public_raw
        self._public = Ed25519PublicKey.from_public_bytes(public_raw)
        self.header = {"alg": _ALGORITHM, "typ": _TYPE, "kid": digest(public_raw)[:16]}

    @property
    def id(self) -> str:
        """Return the key's id."""
        return self.header["kid"]

    def read(self, token: str) -> Grant:
        """Return the grant that was signed with the key as ``token``.

        Raises:
            GrantNotUsableError: it was not.
        """
        if len(token) > _TOKEN_CHARACTERS or not token.isascii():
            raise _forged()
        try:
            if jwt.get_unverified_header(token) != self.header:
                raise _forged()
            claims = jwt.decode(token, self._public, algorithms=[_ALGORITHM], options=_OPTIONS)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _forged() from error
        return grant_of(claims)

    def entry(self) -> dict[str, JsonValue]:
        """Return the key as an entry of a JWKS document."""
        entry = json.loads(jwt.get_algorithm_by_name(_ALGORITHM).to_jwk(self._public))
        public = {name: value for name, value in entry.items() if name != "d"}
        return {**public, "kid": self.id, "alg": _ALGORITHM, "use": "sig"}


class GrantKey:
    """Implements ``GrantSigner`` with one key."""

    def __init__(self, key: Signer) -> None:
        self.signer = key
        self.verifier = GrantVerifier(key.public_raw)
        # The same of every token: the header, and the dot behind it.
        self._prefix = jws.signing_input(b"", type=_TYPE, algorithm=_ALGORITHM, key_id=self.verifier.id)
        self._signed: OrderedDict[str, Grant] = OrderedDict()

    def sign(self, grant: Grant, claims: bytes = b"") -> str:
        """Return the grant as a compact JWS."""
        payload = base64.urlsafe_b64encode(claims or canonical_bytes(claims_of(grant))).rstrip(b"=")
        signed = self._prefix + payload
        token = jws.compact(signed, self.signer.sign(signed))
        if len(self._signed) >= _REMEMBERED:
            self._signed.popitem(last=False)
        self._signed[token] = grant
        return token

    def read(self, token: str) -> Grant:
        """Return the grant that was signed here as ``token``; one that was just signed needs no verifying."""
        known = self._signed.get(token)
        return self.verifier.read(token) if known is None else known

    def key_set(self) -> bytes:
        """Return the public keys that verify grants, as a JWKS document."""
        return key_set_of(self.verifier.public_raw)


@dataclass(frozen=True, slots=True)
class _CountingKey:
    """A public key that signs no more and counts still: since when, in Unix seconds, until when, by monotonic time."""

    public: bytes
    ended_at_seconds: int
    until_ns: int


class TimedGrantKeys:
    """Implements ``GrantKeyRing``: the key that signs, and earlier ones as long as they count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key: GrantKey | None = None
        self._problem = "no key was taken up"
        self._current: GrantVerifier | None = None
        self._earlier: dict[str, tuple[GrantVerifier, _CountingKey]] = {}
        self._until: dict[bytes, int] = {}

    @property
    def signer(self) -> Signer:
        """Return the key that signs.

        Raises:
            GrantKeyMissingError: it is not here.
        """
        return self._signing().signer

    @property
    def problem(self) -> str:
        """Return why nothing is signed here, or an empty string."""
        return self._problem

    def turn(self, signer: Signer, chain: KeyChain, *, now_ns: int) -> None:
        """Sign with ``signer`` from here on, and believe what each earlier key signed for as long as it counts.

        ``now_ns`` is the time by which a key that was not seen before is judged. Once it was seen, time is counted
        here, whatever anybody does to the wall clock.
        """
        if self._key is None or self._key.signer.public_raw != signer.public_raw:
            self._key = GrantKey(signer)
        self._current, self._problem = self._key.verifier, ""
        self._count(chain, now_ns)

    def miss(self, chain: KeyChain, *, problem: str, now_ns: int) -> None:
        """Sign nothing, because the current key of ``chain`` is not here; what it signed is believed."""
        self._key, self._problem = None, problem
        self._current = GrantVerifier(chain.current) if chain.current else None
        self._count(chain, now_ns)

    def sign(self, grant: Grant, claims: bytes = b"") -> str:
        """Return the grant as a compact JWS.

        Raises:
            GrantKeyMissingError: the key that has to sign it is not here.
        """
        return self._signing().sign(grant, claims)

    def read(self, token: str) -> Grant:
        """Return the grant that was signed with the key of now, or with an earlier one while that counted.

        Raises:
            GrantNotUsableError: it was not.
        """
        key_id = _key_id(token)
        if self._current is not None and key_id == self._current.id:
            return self._current.read(token) if self._key is None else self._key.read(token)
        verifier, counting = self._counting().get(key_id, (None, None))
        if verifier is None or counting is None:
            raise _forged()
        grant = verifier.read(token)
        life = grant.expires_at_seconds - grant.issued_at_seconds
        if grant.issued_at_seconds > counting.ended_at_seconds + SKEW_SECONDS or life > LONGEST_SECONDS:
            raise GrantNotUsableError(
                "the grant names a key that signs no more, and was not issued while it did",
                hint="Nothing may run by it. Ask for a decision again",
                why="forged",
            )
        return grant

    def key_set(self) -> bytes:
        """Return the public keys that verify grants, as a JWKS document: that which signs first."""
        if self._current is None:
            return canonical_bytes({"keys": []})
        earlier = [key for _, key in self._counting().values()]
        return key_set_of(self._current.public_raw, [(key.public, key.ended_at_seconds) for key in reversed(earlier)])

    def _signing(self) -> GrantKey:
        if self._key is None:
            raise GrantKeyMissingError(
                f"no grant can be signed here: {self._problem}",
                hint="Copy the key's file here from where it was rotated; it is taken up within seconds. Until then,"
                " ask another control plane with the same idempotency key",
            )
        return self._key

    def _count(self, chain: KeyChain, now_ns: int) -> None:
        found = [_CountingKey(key.public, key.ended_at_seconds, self._end(key, now_ns)) for key in chain.counting]
        self._until = {key.public: key.until_ns for key in found}
        self._earlier = {(verifier := GrantVerifier(key.public)).id: (verifier, key) for key in found}

    def _end(self, key: ReplacedKey, now_ns: int) -> int:
        if (known := self._until.get(key.public)) is not None:
            return known
        left = GRACE_SECONDS * _SECOND - max(0, now_ns - key.ended_at_seconds * _SECOND)
        return self._clock.monotonic_ns() + left

    def _counting(self) -> dict[str, tuple[GrantVerifier, _CountingKey]]:
        if self._earlier:
            now = self._clock.monotonic_ns()
            self._earlier = {name: found for name, found in self._earlier.items() if now < found[1].until_ns}
        return self._earlier


def key_set_of(current: bytes, earlier: Sequence[tuple[bytes, int]] = ()) -> bytes:
    """Return a JWKS document of public keys; each of ``earlier`` with when it was replaced, in Unix seconds."""
    retired = [{**GrantVerifier(public).entry(), "retired_at": ended_at} for public, ended_at in earlier]
    return canonical_bytes({"keys": [GrantVerifier(current).entry(), *retired]})


def _forged() -> GrantNotUsableError:
    return GrantNotUsableError(
        "the grant was not signed by this control plane", hint="Present a grant as Decide gave it", why="forged"
    )


def _key_id(token: str) -> str:
    if len(token) > _TOKEN_CHARACTERS or not token.isascii():
        raise _forged()
    try:
        return str(jwt.get_unverified_header(token).get("kid", ""))
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _forged() from error
