"""A private key that signs, wherever it is kept."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """One Ed25519 key."""

    @property
    def public_pem(self) -> str:
        """Return the public key in PEM form."""
        ...

    @property
    def public_raw(self) -> bytes:
        """Return the 32 bytes of the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``."""
        ...

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is this key's signature of ``message``."""
        ...
