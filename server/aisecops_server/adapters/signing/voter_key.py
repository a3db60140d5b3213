"""A person's own key, read from a PEM file to sign a vote with: Ed25519 or P-256."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from aisecops_server.adapters.signing.vote_keys import COORDINATE_BYTES, jwk_of
from aisecops_server.domain.callers.people import PublicKey
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats import jws


@dataclass(frozen=True, slots=True)
class VoterKey:
    """A private key. ``key_id`` is the thumbprint of its public half, by which policy's table of people knows it."""

    key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey

    @property
    def public_key(self) -> PublicKey:
        """Return the public half (RFC 7517), as it stands in the table of people."""
        return jwk_of(self.key.public_key())

    @property
    def algorithm(self) -> str:
        """Return the algorithm that it signs by."""
        return jws.algorithm_of(self.public_key)

    @property
    def key_id(self) -> str:
        """Return its name."""
        return jws.thumbprint(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``, as a JWS has it."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(message)
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(COORDINATE_BYTES) + s.to_bytes(COORDINATE_BYTES)


def read_voter_key(file: Path) -> VoterKey:
    """Return the key in a PEM ``file``.

    Raises:
        InvalidRequestError: there is none that signs votes.
    """
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(file, "holds no private key that can be read") from error
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    ):
        return VoterKey(key)
    raise _unusable(file, "holds a key of another kind")


def make_voter_key(file: Path) -> VoterKey:
    """Make an Ed25519 key in ``file``, readable by its owner only.

    Raises:
        InvalidRequestError: the file is there already, or cannot be made.
    """
    made = Ed25519PrivateKey.generate()
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise _unusable(file, "is there already, or cannot be made") from error
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
    return VoterKey(made)


def _unusable(file: Path, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{file} {why}", hint="Votes are signed with an unencrypted Ed25519 or P-256 key in PEM form", field="key"
    )
