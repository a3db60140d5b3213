"""The files that a listener proves itself with, read again when they change, so that renewing needs no restart.

What is being replaced is not a moment of trust: files that do not fit each other, or a certificate that has expired,
leave in use what was in use, and say so in the log.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from aisecops_server.adapters.identity.authorities import Life, is_authority, life_of
from aisecops_server.adapters.identity.watched_file import WatchedFile, bounded_content
from aisecops_server.domain.callers.tls_material import TlsMaterial
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.ports import Clock

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class TlsFiles:
    """Implements ``TlsSource``. Handshakes ask from several threads, so one at a time looks."""

    certificate: WatchedFile
    key: WatchedFile
    client_authorities: WatchedFile | None
    clock: Clock
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def material(self) -> TlsMaterial:
        """Return what the files hold.

        Raises:
            InvalidRequestError: they cannot be read, do not fit each other, or the certificate is not valid now.
        """
        return TlsMaterial(
            *_pair(self.certificate.path, self.key.path, self.clock.now_ns() / 1e9),
            _authorities(self.client_authorities.path) if self.client_authorities else b"",
        )

    def renewed(self) -> TlsMaterial | None:
        """Return what the files hold if they changed since they were last looked at, and can be used."""
        with self._lock:
            watched = [file for file in (self.certificate, self.key, self.client_authorities) if file]
            if not any([file.changed() for file in watched]):  # noqa: C419 - each must be looked at
                return None
            try:
                return self.material()
            except InvalidRequestError as error:
                _logger.warning("%s; what was in use stays in use", error.message)
                return None


def tls_files(certificate: Path, key: Path, client_authorities: Path | None, clock: Clock) -> TlsFiles:
    """Return the files of one listener; without ``client_authorities`` no certificate is asked of callers."""
    authorities = WatchedFile(client_authorities, clock) if client_authorities else None
    return TlsFiles(WatchedFile(certificate, clock), WatchedFile(key, clock), authorities, clock)


def certificate_life(path: Path) -> Life:
    """Return from when and until when the certificate in a PEM file is valid.

    Raises:
        InvalidRequestError: there is none.
    """
    return life_of(_leaf(_read(path, "tls_certificate"), path))


def _leaf(chain: bytes, path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError as error:
        raise _unusable(f"there is no certificate in {path}", "tls_certificate") from error


def _pair(certificate: Path, key: Path, now: float) -> tuple[bytes, bytes]:
    chain, secret = _read(certificate, "tls_certificate"), _read(key, "tls_key")
    leaf = _leaf(chain, certificate)
    try:
        private = load_pem_private_key(secret, password=None)
    except (ValueError, TypeError) as error:
        raise _unusable(f"there is no private key without a password in {key}", "tls_key") from error
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*spki) != leaf.public_key().public_bytes(*spki):
        raise _unusable(f"the key in {key} is not that of the certificate in {certificate}", "tls_key")
    if not leaf.not_valid_before_utc.timestamp() <= now < leaf.not_valid_after_utc.timestamp():
        until = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%MZ} to {leaf.not_valid_after_utc:%Y-%m-%d %H:%MZ}"
        raise _unusable(f"the certificate in {certificate} is valid from {until}, not now", "tls_certificate")
    return secret, chain


def _authorities(path: Path) -> bytes:
    content = _read(path, "tls_client_ca")
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError:
        found = []
    if not any(map(is_authority, found)):
        raise _unusable(f"there is no certificate of an authority in {path}", "tls_client_ca")
    return content


def _read(path: Path, setting: str) -> bytes:
    try:
        return bounded_content(path)
    except OSError as error:
        raise _unusable(f"{path} cannot be read ({error.strerror})", setting) from error
    except ValueError as error:
        raise _unusable(str(error), setting) from error


def _unusable(message: str, setting: str) -> InvalidRequestError:
    return InvalidRequestError(
        message,
        hint=f"{setting} names a PEM file; 'aisecops dev ca DIR' makes all that are needed for a trial",
        field=setting,
    )
