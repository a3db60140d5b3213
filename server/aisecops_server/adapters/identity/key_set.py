"""The public keys that callers' tokens are verified with: a JWKS file, read again when it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from aisecops_server.domain.errors import UnauthenticatedError

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey
_ALGORITHM_OF_TYPE = {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256"}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key and the only algorithm it may verify."""

    id: str
    algorithm: str
    key: PublicKey


@dataclass(slots=True)
class KeySet:
    """The keys of one file. A file that cannot be read verifies nothing."""

    path: Path
    _stamp: tuple[int, int, int] | None = None
    _keys: Mapping[str, VerificationKey] = field(default_factory=dict)

    def refresh(self) -> bool:
        """Read the file again if it changed; return whether the keys are other ones now."""
        stamp = self._current_stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._keys = read_keys(self.path) if stamp else {}
        return True

    def key(self, key_id: str) -> VerificationKey:
        """Return the key of that id.

        Raises:
            UnauthenticatedError: there is none.
        """
        found = self._keys.get(key_id)
        if found is None:
            raise UnauthenticatedError("the token was signed with an unknown key", hint="Get a new token")
        return found

    def _current_stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def read_keys(path: Path) -> dict[str, VerificationKey]:
    """Return the keys of a JWKS file by id; an unreadable file has none, and an unusable key is left out."""
    try:
        entries = list(json.loads(path.read_bytes())["keys"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    keys = [_read_key(entry) for entry in entries if isinstance(entry, dict)]
    return {key.id: key for key in keys if key is not None}


def _read_key(entry: Mapping[str, object]) -> VerificationKey | None:
    algorithm = _ALGORITHM_OF_TYPE.get((str(entry.get("kty")), str(entry.get("crv"))))
    key_id = entry.get("kid")
    if algorithm is None or not isinstance(key_id, str) or not key_id:
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm=algorithm).key
    except jwt.PyJWTError:
        return None
    return VerificationKey(key_id, algorithm, key) if isinstance(key, PublicKey) else None
