"""Whom a credential names, read and not verified: good for telling apart what belongs to whom, and proof of nothing."""

from __future__ import annotations

from pathlib import Path

import jwt
from cryptography import x509


def named_in_certificate(path: Path) -> str:
    """Return the one URI of a certificate; where there is none that can be read, its file."""
    try:
        leaf = x509.load_pem_x509_certificate(path.read_bytes())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        [name] = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return str(path.absolute())
    return str(name)


def named_in_token(path: Path) -> str:
    """Return the subject of a token; where there is none that can be read, its file."""
    try:
        claims = jwt.decode(path.read_text(encoding="ascii").strip(), options={"verify_signature": False})
    except (OSError, ValueError, jwt.PyJWTError):
        return str(path.absolute())
    return str(claims.get("sub", path.absolute()))
