"""From a signed token to a principal, or not at all.

A token is a compact JWS with ``alg``, ``typ`` and ``kid`` in its header and nothing else: headers that tell a
reader where to find keys are an attack. The key says which algorithm verifies; the header only has to agree.

Ordering rules: size, header, key, signature, audience, lifetime, subject, roles. Only a token that passed all
of them is remembered, until it expires or the keys change.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from aisecops_server.adapters.identity.key_set import KeySet
from aisecops_server.domain.errors import UnauthenticatedError
from aisecops_server.domain.identifiers import is_agent_id
from aisecops_server.domain.identity import Principal, PrincipalId, Role
from aisecops_server.ports import Clock

AUDIENCE = "aisecops"
MAX_LIFETIME_SECONDS = 24 * 3600
_TOKEN_CHARACTERS = 4096
_REMEMBERED = 4096
# Clocks of issuer and control plane may differ by this much.
_LEEWAY_SECONDS = 30
_REFRESH_NS = 1_000_000_000
_HEADERS = frozenset({"alg", "typ", "kid"})


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    expires_at_seconds: float


@dataclass(slots=True)
class TokenAuthenticator:
    """Authenticates callers by tokens that a key of ``keys`` signed for ``audience``."""

    keys: KeySet
    clock: Clock
    audience: str = AUDIENCE
    _remembered: OrderedDict[str, _Verified] = field(default_factory=OrderedDict)
    _checked_at_ns: int | None = None

    def authenticate(self, credential: str) -> Principal:
        """Return who holds ``credential``.

        Raises:
            UnauthenticatedError: it does not verify, is not for us, or is not valid now.
        """
        self._refresh()
        now = self.clock.now_ns() / 1e9
        known = self._remembered.get(credential)
        if known is None:
            known = self._verify(credential, now)
            self._remember(credential, known)
        if now >= known.expires_at_seconds:
            self._remembered.pop(credential, None)
            raise _refused("the token has expired")
        return known.principal

    def _refresh(self) -> None:
        now = self.clock.monotonic_ns()
        if self._checked_at_ns is not None and now - self._checked_at_ns < _REFRESH_NS:
            return
        self._checked_at_ns = now
        if self.keys.refresh():
            # A token of a key that was withdrawn must not outlive it.
            self._remembered.clear()

    def _remember(self, credential: str, verified: _Verified) -> None:
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.popitem(last=False)
        self._remembered[credential] = verified

    def _verify(self, credential: str, now: float) -> _Verified:
        if len(credential) > _TOKEN_CHARACTERS:
            raise _refused("the token is too long")
        key = self.keys.key(_key_id(credential))
        try:
            claims = jwt.decode(
                credential,
                key.key,
                algorithms=[key.algorithm],
                audience=self.audience,
                # Times are judged below, by the clock that everything else is judged by.
                options={
                    "require": ["exp", "sub", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _refused("the token does not verify") from error
        return _Verified(_principal(claims), _expiry(claims, now))


def _key_id(credential: str) -> str:
    try:
        header = jwt.get_unverified_header(credential)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _refused("the credential is not a token") from error
    key_id = header.get("kid")
    if not _HEADERS.issuperset(header) or not isinstance(key_id, str):
        raise _refused("the token's header is not one that is accepted")
    return key_id


def _expiry(claims: Mapping[str, Any], now: float) -> float:
    expires, begins = claims["exp"], claims.get("nbf", 0)
    if not _is_time(expires) or not _is_time(begins):
        raise _refused("the token's times are not numbers")
    if begins > now + _LEEWAY_SECONDS:
        raise _refused("the token is not valid yet")
    if expires > now + MAX_LIFETIME_SECONDS + _LEEWAY_SECONDS:
        raise _refused(f"the token lives longer than {MAX_LIFETIME_SECONDS} seconds")
    return float(expires)


def _is_time(value: object) -> bool:
    # Nothing is later than NaN, so a token with it would never end.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _principal(claims: Mapping[str, Any]) -> Principal:
    subject, roles = claims["sub"], claims.get("roles")
    if not isinstance(subject, str) or not is_agent_id(subject):
        raise _refused("the token's subject is not an agent id")
    if not isinstance(roles, list) or not roles:
        raise _refused("the token has no roles")
    try:
        return Principal(PrincipalId(subject), "token", frozenset(Role(role) for role in roles))
    except ValueError as error:
        raise _refused("the token has a role that does not exist") from error


def _refused(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(why, hint="Send 'authorization: Bearer <token>' with a token that is valid now")
