"""An OpenID provider that people are sent to, to sign in: the authorization code flow with PKCE.

What it says of itself is remembered for a while; that it could not be asked, for a moment, so that whoever tries
again and again asks it no oftener. Of its answers the ID token is returned, which is verified as every other token.
"""

from __future__ import annotations

import base64
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus, urlencode, urlsplit

from aisecops_server.adapters.identity.discovery import MOST_BYTES, Discovered, discovery_address, parsed_discovery
from aisecops_server.adapters.identity.provider_http import ProviderAsked, ask
from aisecops_server.adapters.identity.secret_file import secret_in
from aisecops_server.domain.callers.sign_in import SignIn, SignInAnswer
from aisecops_server.domain.errors import InvalidPlanError, UnauthenticatedError
from aisecops_server.domain.formats import strict_json
from aisecops_server.ports import Clock

_OK = 200
_KNOWN_SECONDS = 600.0
_AWAY_SECONDS = 5.0
# Whoever is on the way in can be refused as often as they like, and each gets the reason on a page.
_WARNED_SECONDS = 10.0
_TOKEN_ANSWER_BYTES = 64 * 1024
_LEAST_SECRET = 8
_CODE = re.compile(r"[\x20-\x7e]{1,2048}")
# RFC 6749 and OpenID Connect have longer ones for nothing.
_ERROR = re.compile(r"[a-z_]{1,40}")
_AGAIN = "Begin again; if it happens twice, 'aisecops doctor' on the control plane says what is wrong"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProviderClient:
    """What we are to the provider. Without a file of a secret we are a public client; ``ca`` replaces the roots."""

    issuer: str
    client_id: str
    scopes: str = "openid"
    secret_file: Path | None = None
    ca: Path | None = None

    def authorization(self) -> str:
        """Return the header that proves us to the provider, by client_secret_basic; empty for a public client.

        Raises:
            ValueError: the file of the secret cannot be used.
        """
        if self.secret_file is None:
            return ""
        secret = secret_in(self.secret_file, least=_LEAST_SECRET).decode("utf-8")
        pair = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
        return f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}"


@dataclass(slots=True)
class OpenIdProvider:
    """Implements ``SignInProvider``. Threads may share it."""

    client: ProviderClient
    clock: Clock
    _known: Discovered | None = None
    _known_at: float = 0.0
    _away: UnauthenticatedError | None = None
    _away_at: float = 0.0
    _warned_at: float = -_WARNED_SECONDS
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """Return the host of the issuer."""
        return urlsplit(self.client.issuer).hostname or self.client.issuer

    def address(self, begun: SignIn) -> str:
        """Return where to send somebody who signs in.

        Raises:
            UnauthenticatedError: the provider cannot be asked, or is not the one that it should be.
        """
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": begun.back,
            "scope": self.client.scopes,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": begun.challenge,
            "code_challenge_method": "S256",
        }
        return _with(self.discovered().authorization, asked)

    def token(self, begun: SignIn, answer: SignInAnswer) -> str:
        """Return the ID token for what came back; it is not verified yet.

        Raises:
            UnauthenticatedError: the answer is not of this provider or says no, or the provider gives no token.
        """
        provider = self.discovered()
        if answer.issuer != self.client.issuer and (answer.issuer or provider.names_itself):
            raise _refused("the answer is not of the provider that the sign-in was begun with", why="issuer")
        if answer.error:
            raise self._warned(_said(answer.error))
        if not _CODE.fullmatch(answer.code):
            raise _refused("the provider sent no code", why="code")
        form = {
            "grant_type": "authorization_code",
            "code": answer.code,
            "redirect_uri": begun.back,
            "code_verifier": begun.verifier,
        }
        return self._exchanged(provider.token, form)

    def leaving(self) -> str:
        """Return where people sign out of the provider itself; empty if it does not say, or cannot be asked."""
        try:
            found = self.discovered().leaving
        except UnauthenticatedError:
            return ""
        return _with(found, {"client_id": self.client.client_id}) if found else ""

    def discovered(self) -> Discovered:
        """Return what the provider says of itself.

        Raises:
            UnauthenticatedError: it cannot be asked, or is not the one that it should be.
        """
        with self._lock:
            now = self.clock.monotonic_ns() / 1e9
            if self._known is not None and now - self._known_at < _KNOWN_SECONDS:
                return self._known
            if self._away is not None and now - self._away_at < _AWAY_SECONDS:
                raise UnauthenticatedError(self._away.message, hint=self._away.hint, **self._away.metadata())
            try:
                self._known = fetch_discovery(self.client)
            except (OSError, ValueError) as error:
                _logger.warning("nobody can be signed in by the identity provider: %s", _why(error))
                self._away, self._away_at = _away(), self.clock.monotonic_ns() / 1e9
                raise self._away from error
            self._known_at, self._away = self.clock.monotonic_ns() / 1e9, None
            return self._known

    def _exchanged(self, address: str, form: Mapping[str, str]) -> str:
        public = {} if self.client.secret_file else {"client_id": self.client.client_id}
        body = urlencode({**form, **public}).encode("ascii")
        try:
            question = ProviderAsked(address, self.client.ca, body, self.client.authorization())
            status, content = ask(question, most_bytes=_TOKEN_ANSWER_BYTES)
            said = strict_json.parse(content, field="token", limit=_TOKEN_ANSWER_BYTES)
        except InvalidPlanError as error:
            raise self._warned(_away(), "what it answers to a code is not JSON") from error
        except (OSError, ValueError) as error:
            raise self._warned(_away(), _why(error)) from error
        answer = said if isinstance(said, Mapping) else {}
        if status != _OK:
            raise self._warned(_not_taken(status, str(answer.get("error", ""))))
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _refused("the provider gave no ID token", why="code", hint="Is openid among oidc_scopes?")
        return token

    def _warned(self, refused: UnauthenticatedError, why: str = "") -> UnauthenticatedError:
        """Return ``refused``, with a line for who runs this where there was none of late."""
        now = self.clock.monotonic_ns() / 1e9
        if refused.metadata()["why"] != "declined" and now - self._warned_at >= _WARNED_SECONDS:
            self._warned_at = now
            _logger.warning("nobody was signed in: %s%s", refused.message, f": {why}" if why else "")
        return refused


def fetch_discovery(client: ProviderClient) -> Discovered:
    """Ask the provider what it says of itself.

    Raises:
        OSError: it cannot be asked.
        ValueError: it is not the one that it should be, or cannot sign people in for us.
    """
    question = ProviderAsked(discovery_address(client.issuer), client.ca)
    status, content = ask(question, most_bytes=MOST_BYTES)
    if status != _OK:
        raise ValueError(f"its discovery document answers with status {status}")
    return parsed_discovery(content, client.issuer, with_secret=client.secret_file is not None)


def _with(address: str, asked: Mapping[str, str]) -> str:
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(asked)}"


def _said(error: str) -> UnauthenticatedError:
    if error == "access_denied":
        return _refused("you were not let in by the identity provider, or declined", why="declined")
    if error in ("login_required", "interaction_required", "consent_required", "account_selection_required"):
        return _refused("the identity provider wants you to sign in there first", why="declined")
    code = error if _ERROR.fullmatch(error) else "no error that there is"
    return _refused(f"the identity provider refused the sign-in ({code})", why="provider_error")


def _not_taken(status: int, error: str) -> UnauthenticatedError:
    code = error if _ERROR.fullmatch(error) else f"status {status}"
    if code == "invalid_grant":
        return _refused("the identity provider does not take the code: it was used already, or is too old", why="code")
    if code in ("invalid_client", "unauthorized_client"):
        return _refused(
            "the identity provider does not know this control plane",
            why="client",
            hint="Who runs it checks oidc_client_id and oidc_client_secret_file, and what the provider has registered",
        )
    return _refused(f"the identity provider gave no token ({code})", why="provider_error")


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _away() -> UnauthenticatedError:
    return UnauthenticatedError(
        "the identity provider cannot be asked, or is not the one that it should be",
        hint="Try again in a moment; 'aisecops doctor' on the control plane says what is wrong",
        why="provider_away",
    )


def _refused(message: str, *, why: str, hint: str = _AGAIN) -> UnauthenticatedError:
    return UnauthenticatedError(message, hint=hint, why=why)
