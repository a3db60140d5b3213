"""The public keys that callers' tokens are verified with, and how a JWKS is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from aisecops_server.adapters.identity.watched_file import WatchedFile, bounded_content
from aisecops_server.domain.errors import UnauthenticatedError

# What an identity provider publishes has a few kilobytes.
MOST_BYTES = 256 * 1024
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey
# A key verifies one algorithm. Of an RSA key its own entry says which of two, and it is the older one if it does not.
_ALGORITHM_OF_TYPE = {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256", ("RSA", ""): "RS256"}
_LEAST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key and the only algorithm it may verify."""

    id: str
    algorithm: str
    key: PublicKey


class KeySource(Protocol):
    """Where the keys come from that verify tokens."""

    def refresh(self) -> bool:
        """Look for other keys, without waiting; return whether they are other ones now."""
        ...

    def key(self, key_id: str) -> VerificationKey:
        """Return the key of that id.

        Raises:
            UnauthenticatedError: there is none.
        """
        ...


@dataclass(slots=True)
class KeySet:
    """The keys of one file. A file that cannot be read verifies nothing."""

    file: WatchedFile
    _keys: Mapping[str, VerificationKey] = field(default_factory=dict)

    def refresh(self) -> bool:
        """Read the file again if it changed; return whether the keys are other ones now."""
        if not self.file.changed():
            return False
        self._keys = read_keys(self.file.path)
        return True

    def key(self, key_id: str) -> VerificationKey:
        """Return the key of that id.

        Raises:
            UnauthenticatedError: there is none.
        """
        return named_key(self._keys, key_id)


def named_key(keys: Mapping[str, VerificationKey], key_id: str) -> VerificationKey:
    """Return the key of that id.

    Raises:
        UnauthenticatedError: there is none.
    """
    found = keys.get(key_id)
    if found is None:
        raise UnauthenticatedError("the token was signed with an unknown key", hint="Get a new token", why="key")
    return found


def parsed_keys(content: bytes) -> dict[str, VerificationKey]:
    """Return the keys of a JWKS by id; an unusable key is left out.

    Two keys of one id verify nothing: which of them counts would be the reader's choice.

    Raises:
        ValueError: the content is no JWKS.
    """
    try:
        entries = list(json.loads(content)["keys"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("this is not a JSON Web Key Set") from error
    keys = [key for entry in entries if isinstance(entry, dict) and (key := _read_key(entry))]
    ids = Counter(key.id for key in keys)
    return {key.id: key for key in keys if ids[key.id] == 1}


def read_keys(path: Path) -> dict[str, VerificationKey]:
    """Return the keys of a JWKS file by id; a file that cannot be read has none."""
    try:
        return parsed_keys(bounded_content(path, MOST_BYTES))
    except (OSError, ValueError):
        return {}


def _read_key(entry: Mapping[str, object]) -> VerificationKey | None:
    algorithm = _ALGORITHM_OF_TYPE.get((str(entry.get("kty")), str(entry.get("crv", ""))))
    key_id = entry.get("kid")
    if algorithm is None or not isinstance(key_id, str) or not key_id or entry.get("use", "sig") != "sig":
        return None
    if algorithm == "RS256" and entry.get("alg") == "PS256":
        algorithm = "PS256"
    try:
        key = jwt.PyJWK(dict(entry), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if not isinstance(key, PublicKey) or (isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA_BITS):
        return None
    return VerificationKey(key_id, algorithm, key)
