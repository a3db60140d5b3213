"""The authorities whose certificates are accepted, read again when their file changes.

The transport verifies chains when a connection begins. Connections live on, so whether an authority still counts and
whether a certificate is valid *now* is asked again here, by the clock that everything else is judged by. This can
only refuse more than the transport did.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from aisecops_server.adapters.identity.watched_file import WatchedFile, bounded_content
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.ports import Clock

_LONGEST_CHAIN = 4
_MOST_BETWEEN = 8

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Life:
    """From when and until when something is valid, in Unix seconds; the end is not part of it."""

    begins: float
    expires: float


@dataclass(slots=True)
class Authorities:
    """The certificates of one PEM file. One that cannot be read goes on as it was, and says so."""

    file: WatchedFile
    _anchors: Sequence[x509.Certificate] = ()

    def refresh(self) -> bool:
        """Read the file again if it changed; return whether other authorities count now."""
        try:
            return self._read_if_changed()
        except InvalidRequestError as error:
            _logger.warning("%s; the authorities that it named before go on counting", error.message)
            return False

    def require_readable(self) -> None:
        """Read the file for the first time.

        Raises:
            InvalidRequestError: it holds no certificate of an authority.
        """
        self._read_if_changed()

    def vouch_for(self, leaf: x509.Certificate, between: Sequence[x509.Certificate]) -> Life | None:
        """Return how long a chain leads from ``leaf`` to an authority, or ``None`` when none does."""
        return self._chain(leaf, between[:_MOST_BETWEEN], _LONGEST_CHAIN)

    def _chain(self, current: x509.Certificate, between: Sequence[x509.Certificate], left: int) -> Life | None:
        if not left:
            return None
        above = [life_of(anchor) for anchor in self._anchors if _issued(current, anchor)]
        above += [life for part in between if _issued(current, part) and (life := self._chain(part, between, left - 1))]
        if not above:
            return None
        # Of a renewed authority the newer one counts.
        longest, own = max(above, key=lambda life: life.expires), life_of(current)
        return Life(max(own.begins, longest.begins), min(own.expires, longest.expires))

    def _read_if_changed(self) -> bool:
        if not self.file.changed():
            return False
        before, self._anchors = self._anchors, _read(self.file.path)
        return list(self._anchors) != list(before)


def open_authorities(path: Path, clock: Clock) -> Authorities:
    """Return the authorities in a PEM file.

    Raises:
        InvalidRequestError: it holds no certificate of an authority.
    """
    authorities = Authorities(WatchedFile(path, clock))
    authorities.require_readable()
    return authorities


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may sign others."""
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def life_of(certificate: x509.Certificate) -> Life:
    """Return from when and until when a certificate is valid by itself."""
    return Life(certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    if certificate.issuer != authority.subject or not is_authority(authority):
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _read(path: Path) -> list[x509.Certificate]:
    try:
        found = [part for part in x509.load_pem_x509_certificates(bounded_content(path)) if is_authority(part)]
    except (OSError, ValueError) as error:
        raise _unusable(path) from error
    if not found:
        raise _unusable(path)
    return found


def _unusable(path: Path) -> InvalidRequestError:
    return InvalidRequestError(
        f"there is no certificate of an authority in {path}",
        hint="tls_client_ca names a PEM file; 'aisecops dev ca DIR' makes one for a trial",
        field="tls_client_ca",
    )
