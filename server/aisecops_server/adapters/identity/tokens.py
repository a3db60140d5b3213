"""From a signed token to a principal, or not at all.

A token is a compact JWS with ``alg``, ``typ`` and ``kid`` in its header, maybe a thumbprint, and nothing else:
headers that tell a reader where to find keys are an attack. The key says which algorithm verifies; the header only
has to agree.

Ordering rules: size, header, key, signature, audience, issuer, what an ID token has besides, lifetime, subject, roles.
Only a token that passed all of them is remembered, until it expires or the keys change.

An ID token is for the client that asked for it and proves nothing to the API; with the nonce of the sign-in that it
came from, it proves the same as any other token, by the same rules.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import jwt

from aisecops_server.adapters.identity.identities import Identities
from aisecops_server.adapters.identity.key_set import KeySource
from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Principal, PrincipalId
from aisecops_server.domain.errors import UnauthenticatedError
from aisecops_server.domain.formats.identifiers import is_agent_id
from aisecops_server.ports import Clock

AUDIENCE = "aisecops"
MAX_LIFETIME_SECONDS = 24 * 3600
_TOKEN_CHARACTERS = 4096
_REMEMBERED = 4096
# Clocks of issuer and control plane may differ by this much.
_LEEWAY_SECONDS = 30
# Thumbprints tell nobody where to find a key, and large identity providers send one.
_HEADERS = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256"})


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    begins_at_seconds: float
    expires_at_seconds: float


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say. ``issuer`` is empty for any; ``roles_claim`` is a claim's name or a JSON pointer.

    So is ``tenant_claim``, which names the tenant, or a list of them; it is empty where there are no tenants.
    ``client_id`` is the audience of ID tokens, empty where nobody signs in by them.
    """

    audience: str = AUDIENCE
    issuer: str = ""
    roles_claim: str = "roles"
    tenant_claim: str = ""
    client_id: str = ""


@dataclass(slots=True)
class TokenAuthenticator:
    """Authenticates callers by tokens that a key of ``keys`` signed."""

    keys: KeySource
    clock: Clock
    rules: TokenRules = TokenRules()
    identities: Identities = field(default_factory=Identities)
    _remembered: OrderedDict[tuple[str, str], _Verified] = field(default_factory=OrderedDict)

    def authenticate(self, credential: str, nonce: str = "") -> Principal:
        """Return who holds ``credential``; with the ``nonce`` of a sign-in, it is the ID token that came of it.

        Raises:
            UnauthenticatedError: it does not verify, is not for us, or is not valid now.
        """
        if self.keys.refresh():
            # A token of a key that was withdrawn must not outlive it.
            self.forget()
        now = self.clock.now_ns() / 1e9
        known = self._remembered.get((credential, nonce))
        if known is None:
            known = self._verify(credential, nonce, now)
            self._remember((credential, nonce), known)
        if now >= known.expires_at_seconds:
            self._remembered.pop((credential, nonce), None)
            raise _refused("the token has expired", why="expired")
        if now < known.begins_at_seconds - _LEEWAY_SECONDS:
            self._remembered.pop((credential, nonce), None)
            raise _refused("the token is not valid yet", why="not_yet")
        return known.principal

    def forget(self) -> None:
        """Verify every token again, because what they were verified with has changed."""
        self._remembered.clear()

    def _remember(self, shown: tuple[str, str], verified: _Verified) -> None:
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.popitem(last=False)
        self._remembered[shown] = verified

    def _verify(self, credential: str, nonce: str, now: float) -> _Verified:
        if len(credential) > _TOKEN_CHARACTERS:
            raise _refused("the token is too long", why="token")
        if nonce and not self.rules.client_id:
            raise _refused("nobody signs in by ID tokens here", why="token")
        key = self.keys.key(_key_id(credential))
        try:
            claims = jwt.decode(
                credential,
                key.key,
                algorithms=[key.algorithm],
                audience=self.rules.client_id if nonce else self.rules.audience,
                issuer=self.rules.issuer or None,
                # Times are judged below, by the clock that everything else is judged by.
                options={
                    "require": ["exp", "sub", "aud", *(["iss"] if self.rules.issuer else [])],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _refused("the token does not verify", why="token") from error
        if nonce:
            self._require_of_sign_in(claims, nonce, now)
        begins, expires = _times(claims, now)
        return _Verified(self._principal(claims, credential), begins, expires)

    def _require_of_sign_in(self, claims: Mapping[str, Any], nonce: str, now: float) -> None:
        """Hold an ID token to what OpenID Connect Core 3.1.3.7 asks beyond what any token is held to."""
        named, own = claims.get("nonce"), {self.rules.client_id}
        if not isinstance(named, str) or not hmac.compare_digest(_bytes(named), _bytes(nonce)):
            raise _refused("the ID token is of another sign-in", why="nonce")
        audiences = {claims["aud"]} if isinstance(claims["aud"], str) else set(claims["aud"])
        party = claims.get("azp", self.rules.client_id if audiences == own else None)
        if party != self.rules.client_id or audiences - own - {self.rules.audience}:
            raise _refused("the ID token is for others as well", why="party")
        made = claims.get("iat")
        if not _is_time(made):
            raise _refused("the ID token does not say when it was made", why="token")
        if made > now + _LEEWAY_SECONDS:
            raise _refused("the ID token was made later than now", why="not_yet")

    def _principal(self, claims: Mapping[str, Any], credential: str) -> Principal:
        subject, roles = claims["sub"], _claim(claims, self.rules.roles_claim)
        if not isinstance(subject, str) or not is_agent_id(subject):
            raise _refused("the token's subject is not an agent id", why="subject")
        if not isinstance(roles, list) or not roles or not all(isinstance(role, str) for role in roles):
            raise _refused("the token has no roles", why="roles")
        try:
            held = self.identities.of_claim(roles)
        except ValueError as error:
            raise _refused("the token has a role that does not exist", why="roles") from error
        thumbprint = hashlib.sha256(credential.encode()).hexdigest()
        return Principal(PrincipalId(subject), "token", held, thumbprint, self._tenants(claims))

    def _tenants(self, claims: Mapping[str, Any]) -> frozenset[str]:
        if not self.rules.tenant_claim:
            return frozenset({DEFAULT_TENANT})
        named = _claim(claims, self.rules.tenant_claim)
        listed = [named] if isinstance(named, str) else [] if named is None else named
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise _refused("the token's tenant is neither a name nor a list of names", why="tenant")
        return frozenset(listed)


def _key_id(credential: str) -> str:
    try:
        header = jwt.get_unverified_header(credential)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _refused("the credential is not a token", why="token") from error
    key_id = header.get("kid")
    if not _HEADERS.issuperset(header) or not isinstance(key_id, str):
        raise _refused("the token's header is not one that is accepted", why="token")
    return key_id


def _times(claims: Mapping[str, Any], now: float) -> tuple[float, float]:
    begins, expires = claims.get("nbf", 0), claims["exp"]
    if not _is_time(expires) or not _is_time(begins):
        raise _refused("the token's times are not numbers", why="token")
    if expires > now + MAX_LIFETIME_SECONDS + _LEEWAY_SECONDS:
        raise _refused(f"the token lives longer than {MAX_LIFETIME_SECONDS} seconds", why="lifetime")
    return float(begins), float(expires)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_time(value: object) -> TypeGuard[float]:
    # Nothing is later than NaN, so a token with it would never end.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """Return a claim by its name or, where providers nest it, by its JSON pointer."""
    if not name.startswith("/"):
        return claims.get(name)
    found: object = claims
    for part in name[1:].split("/"):
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _refused(message: str, *, why: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        message, hint="Send 'authorization: Bearer <token>' with a token that is valid now", why=why
    )
