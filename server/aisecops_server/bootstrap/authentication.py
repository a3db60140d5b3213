"""How callers are authenticated and where they come in, composed from the settings.

What would let in nobody, or anybody, does not start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.identity.authorities import Life, open_authorities
from aisecops_server.adapters.identity.callers import CallerAuthenticator
from aisecops_server.adapters.identity.certificates import CertificateAuthenticator, CertificateRules
from aisecops_server.adapters.identity.identities import Identities, open_identities
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE, TokenIssuer, local_issuer
from aisecops_server.adapters.identity.key_fetch import KeyAddress, fetch_keys
from aisecops_server.adapters.identity.key_schedule import KeySchedule
from aisecops_server.adapters.identity.key_set import KeySet, KeySource, parsed_keys, read_keys
from aisecops_server.adapters.identity.provider_http import allowed_parts
from aisecops_server.adapters.identity.published_keys import PublishedKeys
from aisecops_server.adapters.identity.sign_in_provider import ProviderClient, fetch_discovery
from aisecops_server.adapters.identity.tls_files import certificate_life, tls_files
from aisecops_server.adapters.identity.tokens import TokenAuthenticator, TokenRules
from aisecops_server.adapters.identity.watched_file import WatchedFile
from aisecops_server.adapters.system import SystemClock
from aisecops_server.domain.callers.spiffe import is_trust_domain
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.entrypoints.grpc.server import Listening, TcpListening, is_loopback
from aisecops_server.ports import Authenticator, Clock
from aisecops_server.settings import Settings


def issuer(settings: Settings) -> TokenIssuer:
    """Return the local issuer of tokens, for development and demos."""
    return local_issuer(
        settings.state_dir / "keys",
        SystemClock(),
        audience=settings.token_audience,
        issuer=settings.token_issuer,
    )


@contextlib.contextmanager
def authenticating(
    settings: Settings, clock: Clock, callers: Mapping[str, str] | None = None
) -> Iterator[Authenticator]:
    """Give what tells who a caller is, following the identity provider's keys while the block runs.

    ``callers`` says whose tenant's the holder of a certificate is; it is ``None`` where there are no tenants.

    Raises:
        InvalidRequestError: a setting does not fit.
    """
    identities = open_identities(settings.identities_file, read_yaml=parse_yaml, clock=clock)
    certificates = _certificates(settings, clock, identities, callers)
    with contextlib.ExitStack() as closing:
        rules = TokenRules(
            settings.token_audience,
            settings.token_issuer,
            settings.token_roles_claim,
            "" if callers is None else settings.token_tenant_claim,
            settings.oidc_client_id,
        )
        provider_client(settings)
        tokens = TokenAuthenticator(_keys(settings, clock, closing), clock, rules, identities)
        yield CallerAuthenticator(tokens, certificates, identities)


def provider_client(settings: Settings) -> ProviderClient | None:
    """Return what the UI is to the identity provider that people sign in with; ``None`` where there is none.

    Raises:
        InvalidRequestError: a setting does not fit.
    """
    if not settings.oidc_client_id:
        return None
    if not settings.token_keys or allowed_parts(settings.token_issuer) is None:
        raise InvalidRequestError(
            "oidc_client_id is set, and not which identity provider that is",
            hint="Set token_issuer to its https address and token_keys to its JWKS",
            field="token_issuer",
        )
    client = ProviderClient(
        settings.token_issuer,
        settings.oidc_client_id,
        settings.oidc_scopes,
        settings.oidc_client_secret_file,
        settings.token_keys_ca,
    )
    try:
        client.authorization()
    except ValueError as error:
        raise InvalidRequestError(
            f"the secret of the UI at the identity provider cannot be used: {error}",
            hint="Write it into a file of mode 600; a public client has none",
            field="oidc_client_secret_file",
        ) from error
    return client


def listeners(settings: Settings, clock: Clock) -> Listening:
    """Return where to listen.

    Raises:
        InvalidRequestError: callers from elsewhere could come in without being authenticated.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if bool(certificate) != bool(key) or (settings.tls_client_ca and not certificate):
        raise InvalidRequestError(
            "tls_certificate and tls_key belong together, and tls_client_ca needs both",
            hint="Set all of them; 'aisecops dev ca DIR' makes them for a trial",
            field="tls_certificate",
        )
    tcp = []
    for address, authorities in (
        (settings.listen_address, settings.tls_client_ca),
        (settings.listen_token_address, None),
    ):
        if address:
            tls = tls_files(certificate, key, authorities, clock) if certificate and key else None
            if tls and not authorities:
                _require_provider(address, settings)
            tcp.append(TcpListening(address, tls))
    return Listening(settings.socket, tuple(tcp))


@dataclass(frozen=True, slots=True)
class Examined:
    """What a look at the settings of authentication found.

    ``keys`` are those of tokens that can be verified; ``provider`` is the issuer that people sign in with, if any.
    """

    life: Life | None
    keys: int
    provider: str = ""


def examined(settings: Settings, clock: Clock) -> Examined:
    """Look at everything that authentication needs, asking the provider once for its keys and for what it is.

    Raises:
        InvalidRequestError: something is missing, does not fit, or cannot be fetched.
    """
    for listening in listeners(settings, clock).tcp:
        if listening.tls:
            listening.tls.material()
    _certificates(settings, clock, open_identities(settings.identities_file, read_yaml=parse_yaml, clock=clock))
    life = certificate_life(settings.tls_certificate) if settings.tls_certificate else None
    return Examined(life, _count_keys(settings), _asked_provider(settings))


def _asked_provider(settings: Settings) -> str:
    client = provider_client(settings)
    if client is None:
        return ""
    try:
        found = fetch_discovery(client)
    except (OSError, ValueError) as error:
        raise InvalidRequestError(
            f"nobody can sign in with {client.issuer}: {error}",
            hint="Is token_issuer spelled as the provider spells it, to the last slash, and reached from here?",
            field="token_issuer",
        ) from error
    if "://" in settings.token_keys and found.keys and found.keys != settings.token_keys:
        raise InvalidRequestError(
            f"the provider publishes its keys at {found.keys}, and token_keys is {settings.token_keys}",
            hint="Set token_keys to where it publishes them",
            field="token_keys",
        )
    return client.issuer


def _count_keys(settings: Settings) -> int:
    if "://" not in settings.token_keys:
        return len(read_keys(Path(settings.token_keys or settings.state_dir / "keys" / KEY_SET_FILE)))
    try:
        return len(parsed_keys(fetch_keys(KeyAddress(settings.token_keys, settings.token_keys_ca))))
    except (OSError, ValueError) as error:
        raise InvalidRequestError(
            f"the keys at {settings.token_keys} cannot be fetched: {error}",
            hint="Until they can, no token is accepted",
            field="token_keys",
        ) from error


def _require_provider(address: str, settings: Settings) -> None:
    # Whoever can read the state directory could be anybody, and over a network as well.
    if not settings.token_keys and not is_loopback(address):
        raise InvalidRequestError(
            f"whoever calls {address} would be authenticated by tokens of the local issuer only",
            hint="Set token_keys to the keys of your identity provider, or tls_client_ca to demand client certificates",
            field="token_keys",
        )


def _keys(settings: Settings, clock: Clock, closing: contextlib.ExitStack) -> KeySource:
    if not settings.token_keys:
        directory = settings.state_dir / "keys"
        local_issuer(directory, clock)
        return KeySet(WatchedFile(directory / KEY_SET_FILE, clock))
    if "://" not in settings.token_keys:
        return _key_file(Path(settings.token_keys), clock)
    address = KeyAddress(settings.token_keys, settings.token_keys_ca)
    address.parts()
    if not settings.token_issuer:
        raise InvalidRequestError(
            "token_keys is a URL, and providers sign the tokens of others with the same keys",
            hint="Set token_issuer to the issuer that your tokens name",
            field="token_issuer",
        )
    published = PublishedKeys(
        partial(fetch_keys, address), clock, KeySchedule(max_age_seconds=settings.token_keys_minutes * 60.0)
    )
    published.start()
    closing.callback(published.stop)
    return published


def _key_file(path: Path, clock: Clock) -> KeySet:
    if not path.is_file():
        raise InvalidRequestError(
            f"there is no file {path} with the keys of tokens",
            hint="token_keys is a JWKS file, or the https URL of one; empty for the local issuer",
            field="token_keys",
        )
    return KeySet(WatchedFile(path, clock))


def _certificates(
    settings: Settings, clock: Clock, identities: Identities, callers: Mapping[str, str] | None = None
) -> CertificateAuthenticator | None:
    if settings.tls_client_ca is None:
        return None
    if not is_trust_domain(settings.trust_domain):
        raise InvalidRequestError(
            f"'{settings.trust_domain}' is not the name of one trust domain, so no client certificate can be accepted",
            hint="Set trust_domain to that of your SPIFFE ids, such as corp.example",
            field="trust_domain",
        )
    rules = CertificateRules(settings.trust_domain, settings.agent_path, settings.certificate_hours, callers)
    return CertificateAuthenticator(open_authorities(settings.tls_client_ca, clock), identities, clock, rules)
