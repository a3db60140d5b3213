"""A local issuer of tokens for one machine: its key stays in the state directory and never leaves it.

Where people and workloads have an identity provider, its JWKS file takes the place of the one made here.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aisecops_server.adapters.identity.tokens import AUDIENCE, MAX_LIFETIME_SECONDS
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.formats.identifiers import is_agent_id
from aisecops_server.ports import Clock

PRIVATE_KEY_FILE = "token-issuer.pem"
KEY_SET_FILE = "tokens.jwks.json"
TENANT_CLAIM = "tenant"


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Signs tokens with the local key."""

    private_key: Ed25519PrivateKey
    key_id: str
    clock: Clock
    audience: str = AUDIENCE
    issuer: str = ""

    def mint(self, subject: str, roles: Iterable[Role], *, seconds: int = 3600, tenants: Sequence[str] = ()) -> str:
        """Return a token for ``subject`` that is valid for ``seconds`` from now, of ``tenants`` where there are any.

        Raises:
            InvalidRequestError: the subject is not an agent id, there is no role, or it would live too long.
        """
        names = sorted({role.value for role in roles})
        if not is_agent_id(subject):
            raise InvalidRequestError("the subject is not an agent id", field="subject")
        if not names:
            raise InvalidRequestError("a token has at least one role", field="roles")
        if not 0 < seconds <= MAX_LIFETIME_SECONDS:
            raise InvalidRequestError(f"a token lives 1 to {MAX_LIFETIME_SECONDS} seconds", field="seconds")
        now = self.clock.now_ns() // 1_000_000_000
        claims = {"sub": subject, "aud": self.audience, "roles": names, "iat": now, "exp": now + seconds}
        claims |= {"iss": self.issuer} if self.issuer else {}
        claims |= {TENANT_CLAIM: list(tenants)} if tenants else {}
        return jwt.encode(claims, self.private_key, algorithm="EdDSA", headers={"kid": self.key_id})


def local_issuer(directory: Path, clock: Clock, *, audience: str = AUDIENCE, issuer: str = "") -> TokenIssuer:
    """Return the issuer of ``directory``, making its key and JWKS file when there is none yet.

    Raises:
        InvalidRequestError: the directory cannot be used or its key cannot be read.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not (directory / PRIVATE_KEY_FILE).exists()
        private_key = _load_or_make(directory / PRIVATE_KEY_FILE)
        made = TokenIssuer(private_key, _key_id(private_key), clock, audience, issuer)
        _publish(made, directory / KEY_SET_FILE, is_new=is_new)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidRequestError(
            f"the token key in {directory} cannot be used", hint="Check its permissions, or move it away", field="keys"
        ) from error
    return made


def _load_or_make(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _leave(path, made)
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("not an Ed25519 key")
    return key


def _publish(issuer: TokenIssuer, path: Path, *, is_new: bool) -> None:
    """Publish a key that was just made beside those that are published: their tokens are good until they are taken out.

    A key that was there before is published when no file is, and never again into one: somebody took it out.
    """
    entry = _public_entry(issuer.private_key) | {"kid": issuer.key_id, "alg": "EdDSA", "use": "sig"}
    if not path.exists():
        _leave(path, json.dumps({"keys": [entry]}, indent=1).encode())
    elif is_new:
        others = json.loads(path.read_bytes())["keys"]
        draft = path.with_name(f".{path.name}.{issuer.key_id}")
        draft.unlink(missing_ok=True)
        _leave(draft, json.dumps({"keys": [entry, *others]}, indent=1).encode())
        draft.replace(path)


def _leave(path: Path, content: bytes) -> None:
    """Leave a file that is there whole after a crash or not at all; of two who make it only one wins."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _public_entry(private_key: Ed25519PrivateKey) -> dict[str, str]:
    return dict(json.loads(jwt.get_algorithm_by_name("EdDSA").to_jwk(private_key.public_key())))


def _key_id(private_key: Ed25519PrivateKey) -> str:
    raw = private_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return digest(raw)[:16]
