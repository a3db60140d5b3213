"""Verifying grants at the tool, without asking anybody: signature, audience, time, call, caller, and one use.

The keys are public (``aisecops grant keys``) and are handed in, never fetched by what a token says. A grant is
remembered until it ends, so that it opens one call here. A tool that runs in several processes redeems with the
control plane as well: what one process remembers, the others do not know.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import logging
import math
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aisecops_grant.arguments import arguments_sha256
from aisecops_grant.token import GrantClaims, GrantRefusedError, claims_of, take_apart

_logger = logging.getLogger(__name__)

# A control plane lets nothing live longer; a token that says so is none of its.
LONGEST_SECONDS = 300
_MOST_SKEW_SECONDS = 60
# How much later than its end a key that was replaced may have issued a grant, by clocks that differ a little.
_RETIRED_SKEW_SECONDS = 5
# How long a key that was revoked goes on counting here, and how often is asked for one that nobody knows.
_ASK_SECONDS, _LEAST_SECONDS = 10.0, 1.0


class ReadsGrants(Protocol):
    """Knows the keys of a control plane."""

    def read(self, token: str) -> GrantClaims:
        """Return what a token says, or raise ``GrantRefusedError``."""
        ...


class GrantKeys:
    """The public keys of one control plane; one that was replaced counts until the last grant of it has ended."""

    def __init__(self, jwks: bytes | str, *, clock: Callable[[], float] = time.time) -> None:
        """Read a JWKS document.

        Raises:
            ValueError: it holds no key that can verify a grant.
        """
        self._clock = clock
        try:
            entries = {entry["kid"]: entry for entry in json.loads(jwks)["keys"] if _is_ours(entry)}
            self._keys = {name: _key(entry) for name, entry in entries.items()}
            ended = {name: entry["retired_at"] for name, entry in entries.items() if "retired_at" in entry}
            self._ended = {name: float(at) for name, at in ended.items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("this is not a JWKS document as 'aisecops grant keys' prints it") from error
        if not self._keys:
            raise ValueError("there is no Ed25519 key in the JWKS document")

    def read(self, token: str) -> GrantClaims:
        """Return what a token says that was signed with one of the keys. Whether it is still good is not judged.

        Raises:
            GrantRefusedError: it was not.
        """
        parts = take_apart(token)
        key = self._keys.get(parts.key_id)
        if key is None:
            raise GrantRefusedError("unknown_key", "the grant was signed with a key that is not known here")
        try:
            key.verify(parts.signature, parts.signed)
        except InvalidSignature as error:
            raise GrantRefusedError("signature", "the grant's signature does not verify") from error
        claims = claims_of(parts)
        if (ended := self._ended.get(parts.key_id)) is not None:
            self._require_of_before(claims, ended)
        return claims

    def _require_of_before(self, claims: GrantClaims, ended: float) -> None:
        last = ended + _RETIRED_SKEW_SECONDS
        too_long = claims.expires_at - claims.issued_at > LONGEST_SECONDS
        if claims.issued_at > last or too_long or self._clock() >= last + LONGEST_SECONDS:
            raise GrantRefusedError("retired_key", "the grant was signed with a key that signs no more")


class FollowedGrantKeys:
    """The public keys of one control plane, asked for again as they age, and when a grant names one that is not known.

        keys = FollowedGrantKeys(client.grant_keys)

    ``fetch`` returns the JWKS document, from a place that was given with the code and never by a token. What was known
    last goes on counting while it fails. Safe to use from several threads.
    """

    def __init__(
        self,
        fetch: Callable[[], bytes | str],
        *,
        ask_seconds: float = _ASK_SECONDS,
        clock: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask for the keys, and again when they are older than ``ask_seconds``.

        Raises:
            ValueError: what is returned holds no key that can verify a grant.
        """
        self._fetch = fetch
        self._ask_seconds = ask_seconds
        self._clock = clock
        self._stopwatch = stopwatch
        self._lock = threading.Lock()
        self._keys = GrantKeys(fetch(), clock=clock)
        self._asked = stopwatch()
        self._askings = 0
        self._vainly = -math.inf

    def read(self, token: str) -> GrantClaims:
        """Return what a token says that was signed with one of the keys. Whether it is still good is not judged.

        Raises:
            GrantRefusedError: it was not.
        """
        askings, known = self._askings, self._keys
        if self._stopwatch() - self._asked >= self._ask_seconds:
            known = self._ask(askings)
        try:
            return known.read(token)
        except GrantRefusedError as error:
            # Whoever sends unknown keys all day makes nobody ask more than once a second.
            if error.why != "unknown_key" or self._stopwatch() - self._vainly < _LEAST_SECONDS:
                raise
        try:
            return self._ask(askings).read(token)
        except GrantRefusedError as error:
            if error.why == "unknown_key":
                self._vainly = self._stopwatch()
            raise

    def _ask(self, askings: int) -> GrantKeys:
        """Return the keys by now; of many who wait since so many ``askings`` one asks, whatever comes of it."""
        with self._lock:
            if self._askings == askings:
                self._askings += 1
                # Whether or not it comes to anything, so that who does not answer is not asked for each grant.
                self._asked = self._stopwatch()
                try:
                    self._keys = GrantKeys(self._fetch(), clock=self._clock)
                except Exception as error:  # noqa: BLE001 - whatever it is, what was known before is what is known
                    _logger.warning("the keys of grants could not be asked for: %s", error)
            return self._keys


@dataclass(slots=True)
class SeenGrants:
    """Which grants opened a call already. Safe to use from several threads; bounded, and full means no."""

    most: int = 100_000
    _ends: dict[str, int] = field(default_factory=dict)
    _by_end: list[tuple[int, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def use(self, grant_id: str, *, until: int, now: float) -> None:
        """Use a grant up; it is remembered ``until`` then.

        Raises:
            GrantRefusedError: it was used before, or there is no room to remember it.
        """
        with self._lock:
            while self._by_end and self._by_end[0][0] <= now:
                del self._ends[heapq.heappop(self._by_end)[1]]
            if grant_id in self._ends:
                raise GrantRefusedError("reused", "the grant was used before")
            if len(self._ends) >= self.most:
                raise GrantRefusedError("full", "too many grants are under way to remember one more")
            self._ends[grant_id] = until
            heapq.heappush(self._by_end, (until, grant_id))


@dataclass(frozen=True, slots=True)
class GrantVerifier:
    """Lets calls of one tool server through that a control plane granted.

    ``server`` is the part of its tools' names before the slash. Clocks may differ by ``skew_seconds``.
    """

    keys: ReadsGrants
    server: str
    skew_seconds: int = 5
    seen: SeenGrants = field(default_factory=SeenGrants)
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        """Refuse a skew that would make grants live on."""
        if not 0 <= self.skew_seconds <= _MOST_SKEW_SECONDS:
            raise ValueError(f"a skew of 0 to {_MOST_SKEW_SECONDS} seconds is allowed")

    def verify(
        self, token: str, *, tool: str, arguments: Mapping[str, Any], agent_id: str = "", thumbprint: str = ""
    ) -> GrantClaims:
        """Use the grant up for this call, and return what it says.

        ``arguments`` are those that will be executed, as they will be. ``agent_id`` is whom this server authenticated,
        ``thumbprint`` that of the certificate that was shown; what is given must be right. One of them is enough where
        the grant was given to a certificate; where it was given to a token, ``agent_id`` is needed.

        Raises:
            GrantRefusedError: the call may not run.
        """
        claims = self.keys.read(token)
        now = self.clock()
        self._require_for_this(claims, tool, arguments)
        _require_bearer(claims, agent_id, thumbprint)
        self._require_in_time(claims, now)
        self.seen.use(claims.id, until=claims.expires_at + self.skew_seconds, now=now)
        return claims

    def _require_for_this(self, claims: GrantClaims, tool: str, arguments: Mapping[str, Any]) -> None:
        if claims.server != self.server:
            raise GrantRefusedError("other_server", f"the grant is for the server {claims.server}")
        if claims.tool != tool:
            raise GrantRefusedError("other_tool", f"the grant is for {claims.tool}")
        try:
            digest = arguments_sha256(arguments)
        except (TypeError, ValueError) as error:
            raise GrantRefusedError("other_arguments", f"the arguments have no exact form: {error}") from error
        if claims.arguments_sha256 != digest:
            raise GrantRefusedError("other_arguments", "the grant is for other arguments")

    def _require_in_time(self, claims: GrantClaims, now: float) -> None:
        if not 0 < claims.expires_at - claims.issued_at <= LONGEST_SECONDS:
            raise GrantRefusedError("lifetime", "the grant would live too long")
        if now >= claims.expires_at + self.skew_seconds:
            raise GrantRefusedError("expired", "the grant has expired")
        if now < claims.issued_at - self.skew_seconds:
            raise GrantRefusedError("not_yet_valid", "the grant is not valid yet")


def certificate_thumbprint(certificate: bytes | str) -> str:
    """Return the thumbprint of a client certificate, DER or PEM, as grants name it.

    Raises:
        ValueError: it is PEM and cannot be read.
    """
    if isinstance(certificate, str) or certificate.lstrip().startswith(b"-----BEGIN"):
        text = certificate if isinstance(certificate, str) else certificate.decode("ascii")
        certificate = ssl.PEM_cert_to_DER_cert(text.strip())
    return hashlib.sha256(certificate).hexdigest()


def _require_bearer(claims: GrantClaims, agent_id: str, thumbprint: str) -> None:
    if not agent_id and not (thumbprint and claims.thumbprint):
        raise GrantRefusedError("other_caller", "nothing is known of the caller")
    # A grant that was given to a token is the agent's, and says of no certificate whether it is the agent's.
    other = thumbprint and claims.thumbprint and thumbprint != claims.thumbprint
    if (agent_id and agent_id != claims.agent_id) or other:
        raise GrantRefusedError("other_caller", "the grant was given to another caller")


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return (entry.get("kty"), entry.get("crv"), entry.get("alg")) == ("OKP", "Ed25519", "EdDSA")


def _key(entry: Mapping[str, Any]) -> Ed25519PublicKey:
    raw = str(entry["x"])
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
