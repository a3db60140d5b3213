"""Who a caller is, from everything that it presents.

The connection's certificate is who calls. A token beside it must name the same principal: otherwise somebody
forwards what was given to somebody else, and neither of the two is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aisecops_server.adapters.identity.certificates import CertificateAuthenticator
from aisecops_server.adapters.identity.identities import Identities
from aisecops_server.adapters.identity.tokens import TokenAuthenticator
from aisecops_server.domain.callers.identity import Presented, Principal
from aisecops_server.domain.errors import UnauthenticatedError


@dataclass(slots=True)
class CallerAuthenticator:
    """Implements ``Authenticator``. Without ``certificates`` only tokens prove anything."""

    tokens: TokenAuthenticator
    certificates: CertificateAuthenticator | None = None
    identities: Identities = field(default_factory=Identities)

    def authenticate(self, presented: Presented) -> Principal:
        """Return the principal that ``presented`` proves.

        Raises:
            UnauthenticatedError: it proves nobody, two of them, or somebody who was withdrawn.
        """
        if self.identities.refresh():
            self._forget()
        principal = self._principal(presented)
        if self.identities.is_withdrawn(principal):
            raise UnauthenticatedError(
                "the credential was withdrawn", hint="Ask who runs the control plane", why="withdrawn"
            )
        return principal

    def _principal(self, presented: Presented) -> Principal:
        if not presented.certificate:
            return self._of_token(presented.token, presented.nonce)
        if self.certificates is None:
            raise UnauthenticatedError("no certificate is accepted here", hint="Send a token", why="certificate")
        principal = self.certificates.authenticate(presented.certificate, presented.intermediates)
        named = self._of_token(presented.token, presented.nonce) if presented.token else principal
        if named.id != principal.id or named.tenants - principal.tenants:
            raise UnauthenticatedError(
                "the token names somebody else than the connection's certificate",
                hint="Send the one that is yours",
                why="mismatch",
                certificate=principal.id,
                token=named.id,
            )
        return principal

    def _of_token(self, token: str, nonce: str) -> Principal:
        if not token:
            raise UnauthenticatedError(
                "the call carries no credential",
                hint="Send the metadata 'authorization: Bearer <token>', or connect with a client certificate",
                why="none",
            )
        return self.tokens.authenticate(token, nonce)

    def _forget(self) -> None:
        self.tokens.forget()
        if self.certificates is not None:
            self.certificates.forget()
