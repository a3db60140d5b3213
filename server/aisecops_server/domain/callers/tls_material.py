"""What a listener needs to prove who it is, and by whom its callers must be vouched for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """A private key with its certificates, and the authorities of client certificates, all PEM.

    Without ``client_authorities`` no certificate is asked of callers.
    """

    private_key: bytes = field(repr=False)
    certificates: bytes
    client_authorities: bytes = b""
