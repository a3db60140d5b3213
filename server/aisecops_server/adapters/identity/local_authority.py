"""A certificate authority for one machine: for trials, demos and tests, never for production.

Its key lies in a folder beside what it signed. The certificates that it makes are those that production has: P-256,
because the transport takes no Ed25519 certificates; one SPIFFE id for each caller; a life of hours.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aisecops_server.domain.callers.spiffe import SpiffeId
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.ports import Clock

CERTIFICATE_FILE = "ca.pem"
KEY_FILE = "ca.key"
AUTHORITY_DAYS = 30
_NAME = "AISecOps local authority"
_COMMON_NAME_CHARACTERS = 64
_EARLIER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, and where they were written."""

    certificate: Path
    key: Path
    expires: datetime


@dataclass(frozen=True, slots=True)
class LocalAuthority:
    """Signs certificates with a key that it keeps in its folder."""

    directory: Path
    certificate: x509.Certificate
    key: EllipticCurvePrivateKey
    clock: Clock

    def issue_server(self, names: Iterable[str], *, hours: int) -> Issued:
        """Write the certificate of a control plane that is reached by ``names``: host names and addresses."""
        named = list(names)
        return self._issue(
            Path("server"),
            [_host(name) for name in named],
            [ExtendedKeyUsageOID.SERVER_AUTH],
            common=named[0],
            hours=hours,
        )

    def issue_caller(self, identity: SpiffeId, *, hours: int) -> Issued:
        """Write the certificate of an agent or a person, in a folder by the kind that its path names."""
        place = Path(identity.path.removeprefix("/"))
        name = x509.UniformResourceIdentifier(str(identity))
        return self._issue(place, [name], [ExtendedKeyUsageOID.CLIENT_AUTH], common=place.name, hours=hours)

    def issue_node(self, name: str, *, hours: int) -> Issued:
        """Write the certificate of a member of a replay cluster, which both calls and is called."""
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._issue(Path("node") / name, [_host(name)], usages, common=name, hours=hours)

    def _issue(
        self,
        place: Path,
        names: Iterable[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        *,
        common: str,
        hours: int,
    ) -> Issued:
        key = generate_private_key(SECP256R1())
        now = _now(self.clock)
        expires = min(now + timedelta(hours=hours), self.certificate.not_valid_after_utc)
        signed = (
            _builder(common, self.certificate.subject, key, begins=now - _EARLIER, expires=expires)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        certificate, secret = self.directory / f"{place}.pem", self.directory / f"{place}.key"
        certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(secret, _pem(key))
        _replace(certificate, signed.public_bytes(Encoding.PEM), 0o644)
        return Issued(certificate, secret, expires)


def open_authority(directory: Path, clock: Clock) -> LocalAuthority:
    """Return the authority of ``directory``; a new one when there is none or when it ends within a day.

    Raises:
        InvalidRequestError: the folder cannot be used, or what is in it is no authority of ours.
    """
    certificate, key = directory / CERTIFICATE_FILE, directory / KEY_FILE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if key.exists():
            found = LocalAuthority(directory, _certificate(certificate), _key(key), clock)
            if found.certificate.not_valid_after_utc - _now(clock) > timedelta(days=1):
                return found
        return _make(directory, clock)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidRequestError(
            f"{directory} cannot hold a certificate authority",
            hint="Name a folder that is empty or that 'aisecops dev ca' made",
            field="DIR",
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, in one step."""
    _replace(path, content, 0o600)


def _make(directory: Path, clock: Clock) -> LocalAuthority:
    key, now = generate_private_key(SECP256R1()), _now(clock)
    until = now + timedelta(days=AUTHORITY_DAYS)
    certificate = (
        _builder(_NAME, _named(_NAME), key, begins=now - _EARLIER, expires=until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(directory / KEY_FILE, _pem(key))
    _replace(directory / CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM), 0o644)
    return LocalAuthority(directory, certificate, key, clock)


def _builder(
    common: str, issuer: x509.Name, key: EllipticCurvePrivateKey, *, begins: datetime, expires: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_named(common))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(expires)
    )


def _named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:_COMMON_NAME_CHARACTERS])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.now_ns() // 1_000_000_000, tz=UTC)


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _key(path: Path) -> EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError("not a P-256 key")
    return key


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _replace(path: Path, content: bytes, mode: int) -> None:
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    draft.replace(path)
