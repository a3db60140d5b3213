"""A channel's private key, in a PEM file of whoever announces."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aisecops_server.adapters.signing.keys import SigningKey, read_key
from aisecops_server.domain.errors import InvalidRequestError


def make_channel_key(file: Path) -> SigningKey:
    """Make an Ed25519 key in ``file``, readable by its owner only.

    Raises:
        InvalidRequestError: the file is there already, or cannot be made.
    """
    made = Ed25519PrivateKey.generate()
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidRequestError(
            f"{file} is there already, or cannot be made", hint="Name a file that is not there yet", field="file"
        ) from error
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
    return SigningKey(made)


def read_channel_key(file: Path) -> SigningKey:
    """Return the key in ``file``.

    Raises:
        InvalidRequestError: there is no file.
        IntegrityError: others than its owner can read it, or it holds no Ed25519 key.
    """
    if not file.is_file():
        raise InvalidRequestError(
            f"there is no key {file}", hint="'aisecops policy channel-key FILE --make' makes one", field="key"
        )
    return SigningKey(read_key(file))
