"""Keys that attested votes once and attest none any more: their public halves, each with when it was replaced.

Owns the file beside the key. What a retired key attested counts for votes of before that moment and for no later one;
approvals last minutes, so after a quarter of an hour it counts for nothing.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from aisecops_server.adapters.signing.keys import SigningKey, make_lasting
from aisecops_server.adapters.signing.vote_keys import jwk_of
from aisecops_server.domain.callers.people import RetiredKey
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.formats.canonical import JsonValue, canonical_bytes


def retired_keys(directory: Path, name: str) -> tuple[RetiredKey, ...]:
    """Return the retired keys of the name, oldest first; none where there is no file.

    Raises:
        IntegrityError: the file cannot be read.
    """
    file = directory / f"{name}.retired.json"
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        return tuple(RetiredKey(dict(entry["key"]), int(entry["retired_at_seconds"])) for entry in found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"the retired keys in {file} cannot be read",
            hint="Restore the file from a backup; without it, votes of before the last rotation count for nothing",
            file=str(file),
        ) from error


def fresh_key() -> SigningKey:
    """Return a new key that is kept nowhere yet."""
    return SigningKey(Ed25519PrivateKey.generate())


def replace_key(directory: Path, name: str, *, retired: RetiredKey, by: SigningKey) -> None:
    """Put a key in the place of the one that ``retired`` is of. The old private key is gone then.

    The public half is kept first: a process that dies in between leaves a key that is listed and still signs, and the
    ceremony is held again.
    """
    known = [held for held in retired_keys(directory, name) if held.key != retired.key]
    entries: list[JsonValue] = [
        {"key": held.key, "retired_at_seconds": held.retired_at_seconds} for held in (*known, retired)
    ]
    _written(directory / f"{name}.retired.json", canonical_bytes(entries))
    pem = by.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _written(directory / f"{name}.pem", pem)


def public_jwk(key: SigningKey) -> dict[str, Any]:
    """Return the public half of a key as a JWK."""
    return jwk_of(Ed25519PublicKey.from_public_bytes(key.public_raw))


def _written(file: Path, content: bytes) -> None:
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    Path(draft).replace(file)
    make_lasting(file)
