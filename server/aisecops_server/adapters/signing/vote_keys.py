"""The key that the control plane signs votes with, and the check of votes that people signed with their own.

A public key is a JWK of one of two kinds, Ed25519 or P-256, and each kind verifies by one algorithm. What a signature's
header says of keys and algorithms is never asked.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from aisecops_server.adapters.signing.keys import SigningKey
from aisecops_server.domain.callers.people import PublicKey, RetiredKey
from aisecops_server.domain.formats.canonical import JsonValue

COORDINATE_BYTES = 32


class SigningVoteKeys:
    """Implements ``VoteKeys`` with the key of the control plane and those that it had before."""

    def __init__(self, key: SigningKey, retired: Sequence[RetiredKey] = ()) -> None:
        self._key = key
        self.retired = tuple(retired)

    @property
    def public_key(self) -> PublicKey:
        """Return the public key."""
        return jwk_of(Ed25519PublicKey.from_public_bytes(self._key.public_raw))

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``."""
        return self._key.sign(message)

    def verifies(self, key: PublicKey, message: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is that of ``message`` by ``key``."""
        try:
            _verify(key, message, signature)
        except (InvalidSignature, ValueError):
            return False
        return True

    def of_certificate(self, certificate: bytes) -> PublicKey | None:
        """Return the public key of a PEM certificate."""
        try:
            key = x509.load_pem_x509_certificate(certificate).public_key()
        except ValueError:
            return None
        if isinstance(key, Ed25519PublicKey) or (
            isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            return jwk_of(key)
        return None


def jwk_of(key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> dict[str, JsonValue]:
    """Return a public key as a JWK."""
    if isinstance(key, Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _encoded(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    numbers = key.public_numbers()
    x, y = (_encoded(number.to_bytes(COORDINATE_BYTES)) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _verify(key: PublicKey, message: bytes, signature: bytes) -> None:
    match (key.get("kty"), key.get("crv")):
        case ("OKP", "Ed25519"):
            Ed25519PublicKey.from_public_bytes(_decoded(key.get("x"))).verify(signature, message)
        case ("EC", "P-256"):
            if len(signature) != 2 * COORDINATE_BYTES:
                raise InvalidSignature
            r, s = (int.from_bytes(part) for part in (signature[:COORDINATE_BYTES], signature[COORDINATE_BYTES:]))
            point = ec.EllipticCurvePublicNumbers(
                int.from_bytes(_decoded(key.get("x"))), int.from_bytes(_decoded(key.get("y"))), ec.SECP256R1()
            )
            point.public_key().verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
        case _:
            raise ValueError("no key of a kind that signs votes")


def _decoded(text: JsonValue) -> bytes:
    try:
        spelt = str(text)
        return base64.b64decode(spelt + "=" * (-len(spelt) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("a key's coordinate is not base64url") from error


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
