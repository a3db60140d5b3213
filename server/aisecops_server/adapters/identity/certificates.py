"""From the client certificate of a connection to a principal, or not at all.

The certificate names its holder in its one URI, which is a SPIFFE id of the configured trust domain. What lies
below the agents' path is an agent and nothing else; other ids have the roles that the identities file gives them.

Ordering rules: authority, shape, name, life, roles. What passed is remembered until the authorities or the
identities change; whether it is valid now is asked every time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from aisecops_server.adapters.identity.authorities import Authorities, Life, is_authority
from aisecops_server.adapters.identity.identities import Identities
from aisecops_server.domain.callers import spiffe
from aisecops_server.domain.callers.identity import BY_CERTIFICATE, DEFAULT_TENANT, Principal, PrincipalId, Role
from aisecops_server.domain.callers.spiffe import SpiffeId
from aisecops_server.domain.errors import UnauthenticatedError
from aisecops_server.domain.formats.identifiers import is_agent_id
from aisecops_server.ports import Clock

AGENT_PATH = "/agent/"
MAX_HOURS = 24
_MOST_BYTES = 64 * 1024
_REMEMBERED = 4096
# Clocks of issuer and control plane may differ by this much. Nothing lives longer for it.
_LEEWAY_SECONDS = 30
# Issuers let certificates begin a little earlier, for clocks that are late.
_SLACK_MINUTES = 10


@dataclass(frozen=True, slots=True)
class CertificateRules:
    """Which certificates are accepted: of which trust domain, who of it is an agent, how long they live at most.

    ``tenants`` says by id, or by how an id begins where that ends in a slash, whose tenant's its holder is; ``None``
    where there are no tenants.
    """

    trust_domain: str
    agent_path: str = AGENT_PATH
    max_hours: int = MAX_HOURS
    tenants: Mapping[str, str] | None = None

    def tenants_of(self, spiffe_id: str) -> frozenset[str]:
        """Return the tenants of a certificate's holder."""
        if self.tenants is None:
            return frozenset({DEFAULT_TENANT})
        return frozenset(
            tenant
            for place, tenant in self.tenants.items()
            if spiffe_id == place or (place.endswith("/") and spiffe_id.startswith(place))
        )


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    life: Life


@dataclass(slots=True)
class CertificateAuthenticator:
    """Authenticates callers by the certificates that ``authorities`` vouch for."""

    authorities: Authorities
    identities: Identities
    clock: Clock
    rules: CertificateRules
    _remembered: OrderedDict[tuple[bytes, bytes], _Verified] = field(default_factory=OrderedDict)

    def authenticate(self, certificate: bytes, intermediates: bytes = b"") -> Principal:
        """Return who the PEM ``certificate`` names.

        Raises:
            UnauthenticatedError: it does not verify, names nobody or several, or is not valid now.
        """
        if self.authorities.refresh():
            # Whom a withdrawn authority named is nobody from now on, connected or not.
            self.forget()
        now = self.clock.now_ns() / 1e9
        key = (certificate, intermediates)
        known = self._remembered.get(key)
        if known is None:
            known = self._verify(certificate, intermediates)
            self._remember(key, known)
        if now >= known.life.expires:
            self._remembered.pop(key, None)
            raise _refused("the certificate has expired", why="expired")
        if now < known.life.begins - _LEEWAY_SECONDS:
            self._remembered.pop(key, None)
            raise _refused("the certificate is not valid yet", why="not_yet")
        return known.principal

    def forget(self) -> None:
        """Verify every certificate again, because what they were verified with has changed."""
        self._remembered.clear()

    def _remember(self, key: tuple[bytes, bytes], verified: _Verified) -> None:
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.popitem(last=False)
        self._remembered[key] = verified

    def _verify(self, certificate: bytes, intermediates: bytes) -> _Verified:
        leaf, between = _parsed(certificate, intermediates)
        life = self.authorities.vouch_for(leaf, between)
        if life is None:
            raise _refused("no authority that is accepted vouches for the certificate", why="authority")
        _require_for_clients(leaf)
        identity = self._identity(leaf)
        if leaf.not_valid_after_utc - leaf.not_valid_before_utc > timedelta(
            hours=self.rules.max_hours, minutes=_SLACK_MINUTES
        ):
            raise UnauthenticatedError(
                f"the certificate lives longer than {self.rules.max_hours} hours",
                hint="Issue shorter ones, or raise certificate_hours",
                why="lifetime",
            )
        thumbprint = hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest()
        tenants = self.rules.tenants_of(str(identity))
        principal = Principal(PrincipalId(str(identity)), BY_CERTIFICATE, self._roles(identity), thumbprint, tenants)
        return _Verified(principal, life)

    def _identity(self, leaf: x509.Certificate) -> SpiffeId:
        names = _uris(leaf)
        if len(names) != 1:
            raise _refused(f"the certificate names {len(names)} URIs, and it must be exactly one", why="subject")
        found = spiffe.parse(names[0])
        if found is None or not is_agent_id(names[0]):
            raise _refused("the certificate's URI is not a SPIFFE id", why="subject")
        if found.trust_domain != self.rules.trust_domain:
            raise _refused("the certificate is of another trust domain", why="trust_domain")
        return found

    def _roles(self, identity: SpiffeId) -> frozenset[Role]:
        # An agent never has a person's role, whatever the file says.
        if identity.path.startswith(self.rules.agent_path):
            return frozenset({Role.AGENT})
        return self.identities.of_person(str(identity))


def _parsed(certificate: bytes, intermediates: bytes) -> tuple[x509.Certificate, list[x509.Certificate]]:
    if len(certificate) + len(intermediates) > _MOST_BYTES:
        raise _refused("the certificate is too long", why="certificate")
    try:
        [leaf] = x509.load_pem_x509_certificates(certificate)
        between = x509.load_pem_x509_certificates(intermediates) if intermediates else []
    except ValueError as error:
        raise _refused("the certificate cannot be read", why="certificate") from error
    return leaf, between


def _uris(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except ValueError as error:
        raise _refused("the certificate cannot be read", why="certificate") from error
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _require_for_clients(leaf: x509.Certificate) -> None:
    """Refuse what is meant for something else: an authority, a server."""
    if is_authority(leaf):
        raise _refused("the certificate is that of an authority", why="certificate")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    except ValueError as error:
        raise _refused("the certificate cannot be read", why="certificate") from error
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise _refused("the certificate is not meant for clients", why="certificate")


def _refused(message: str, *, why: str) -> UnauthenticatedError:
    return UnauthenticatedError(message, hint="Connect with a client certificate that is valid now", why=why)
