"""An identity provider: signs tokens, and publishes its keys or what a test wants instead."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import jwt
from aisecops_server.ports import Clock
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

ISSUER = "https://login.example/"


@dataclass
class Provider:
    """An identity provider: signs tokens, and publishes what it is told to, or does not answer."""

    clock: Clock
    keys: dict[str, EllipticCurvePrivateKey] = field(default_factory=dict)
    published: bytes | None = None
    asked: int = 0

    def publish(self, *ids: str) -> None:
        for name in ids:
            self.keys.setdefault(name, generate_private_key(SECP256R1()))
        self.published = json.dumps({"keys": [entry(self.keys[name], name, "ES256") for name in ids]}).encode()

    def token(self, key: str, **changes: object) -> str:
        now = self.clock.now_ns() // 1_000_000_000
        claims = {"sub": "ada", "aud": "aisecops", "iss": ISSUER, "roles": ["security"], "exp": now + 7200, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.keys[key], algorithm="ES256", headers={"kid": key})

    def fetch(self) -> bytes:
        self.asked += 1
        if self.published is None:
            raise OSError("nobody answers")
        return self.published


def entry(
    key: EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey, name: str, algorithm: str
) -> dict[str, object]:
    return json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())) | {"kid": name}
