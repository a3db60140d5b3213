"""A public key that an operator pinned: whatever is not signed with it counts for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aisecops_server.domain.errors import InvalidRequestError

_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """One Ed25519 public key, with its PEM form."""

    key: Ed25519PublicKey
    pem: str

    @property
    def raw(self) -> bytes:
        """Return the 32 bytes of the key."""
        return self.key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is this key's signature of ``message``."""
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def read_pinned_key(path: Path, *, field: str) -> PinnedKey:
    """Return the key in a PEM file that the setting ``field`` names.

    Raises:
        InvalidRequestError: there is none.
    """
    try:
        with path.open("rb") as stream:
            pem = stream.read(_MOST_BYTES)
        key = serialization.load_pem_public_key(pem)
    except (OSError, ValueError) as error:
        raise _no_key(path, field) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, field)
    return PinnedKey(key, pem.decode("ascii"))


def _no_key(path: Path, field: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{path} is not an Ed25519 public key in PEM form",
        hint=f"{_SOURCES[field]}; bring it here by a way that you trust",
        field=field,
    )


_SOURCES = {
    "centre_bundle_key": "'aisecops edge key' prints it at the centre",
    "channel_keys": "'aisecops policy channel-key' prints it where the private key is",
    "known_key": "'aisecops policy channel-key' prints it where the private key is",
}
