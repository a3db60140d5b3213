"""Ed25519 keys in files, made on first use.

Owns the key directory (0700) and its files (0600). A key file that others could read or that is not a key is
refused, never replaced: a new key would silently disown everything that the old one signed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from aisecops_server.domain.errors import IntegrityError

_OWNER_ONLY = 0o077
_MAX_KEY_BYTES = 4096


class SigningKey:
    """One Ed25519 key pair."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """Return the key itself, for what has a form of its own."""
        return self._key

    @property
    def public_pem(self) -> str:
        """Return the public key in PEM form."""
        return (
            self._key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode("ascii")
        )

    @property
    def public_raw(self) -> bytes:
        """Return the 32 bytes of the public key."""
        return self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``."""
        return self._key.sign(message)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is this key's signature of ``message``."""
        try:
            self._key.public_key().verify(signature, message)
        except InvalidSignature:
            return False
        return True


def verifies_ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether ``signature`` is an Ed25519 signature of ``message`` by the key of these 32 bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def open_key(directory: Path, name: str) -> SigningKey:
    """Return the key ``name`` of ``directory``, making it if there is none.

    Raises:
        IntegrityError: the file is readable by others, is no Ed25519 key, or cannot be read or written.
    """
    file = (directory / f"{name}.pem").absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            _make(file)
        return SigningKey(read_key(file))
    except OSError as error:
        raise _unusable(file, "cannot be read or made") from error


def _make(file: Path) -> None:
    """Write a new key beside its place and link it there, so that of two makers only one wins."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=_draft(file))
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()
    make_lasting(file)


def names_of(file: Path) -> list[Path]:
    """Return every name under which the key of ``file`` may stand: its own, and drafts that a crash left behind."""
    return [found for found in (file, *sorted(file.parent.glob(f"{_draft(file)}*"))) if found.exists()]


def _draft(file: Path) -> str:
    return f".{file.name}."


def make_lasting(file: Path) -> None:
    """Make the names that lead to ``file`` durable: what it signed must not outlive it in a power cut."""
    for directory in (file.parent, file.parent.parent):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_key(file: Path) -> Ed25519PrivateKey:
    """Return the private key in ``file``.

    Raises:
        IntegrityError: others than its owner can read it, or it holds no Ed25519 key.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        status = os.fstat(stream.fileno())
        pem = stream.read(_MAX_KEY_BYTES)
    if status.st_mode & _OWNER_ONLY or not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise _unusable(file, "can be read by others than its owner")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise _unusable(file, "is not a private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(file, "is not an Ed25519 key")
    return key


def _unusable(file: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"the signing key {file} {why}",
        hint="Restore it from a backup with mode 0600, or move it away to start with a new key",
        file=str(file),
    )
