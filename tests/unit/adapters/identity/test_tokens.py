"""A token proves who holds it, or it proves nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE, PRIVATE_KEY_FILE, TokenIssuer, local_issuer
from aisecops_server.adapters.identity.key_set import KeySet
from aisecops_server.adapters.identity.tokens import MAX_LIFETIME_SECONDS, TokenAuthenticator
from aisecops_server.adapters.identity.watched_file import WatchedFile
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import InvalidRequestError, UnauthenticatedError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fakes.clock import FakeClock

AGENT = "spiffe://example.org/agent/support"


class Desk:
    """An issuer and an authenticator that trusts it."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.directory = directory
        self.issuer = local_issuer(directory, self.clock)
        self.authenticator = TokenAuthenticator(KeySet(WatchedFile(directory / KEY_SET_FILE, self.clock)), self.clock)

    @property
    def now(self) -> int:
        return self.clock.now_ns() // 1_000_000_000

    def claims(self, **changes: Any) -> dict[str, Any]:
        claims = {"sub": AGENT, "aud": "aisecops", "roles": ["agent"], "exp": self.now + 60, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def signed(self, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        headers = {"kid": self.issuer.key_id, **(headers or {})}
        return jwt.encode(self.claims(**changes), self.issuer.private_key, algorithm="EdDSA", headers=headers)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "keys")


def test_a_minted_token_proves_its_subject_and_roles(desk: Desk) -> None:
    principal = desk.authenticator.authenticate(desk.issuer.mint(AGENT, [Role.AGENT, Role.APP]))
    assert (principal.id, principal.authenticated_by) == (AGENT, "token")
    assert principal.roles == {Role.AGENT, Role.APP}


def test_the_private_key_is_for_its_owner_only_and_is_kept(desk: Desk) -> None:
    assert (desk.directory / PRIVATE_KEY_FILE).stat().st_mode & 0o777 == 0o600
    again = local_issuer(desk.directory, desk.clock)
    assert again.key_id == desk.issuer.key_id
    assert desk.authenticator.authenticate(again.mint(AGENT, [Role.AGENT])).id == AGENT


def test_a_token_ends_when_it_says_even_when_it_is_remembered(desk: Desk) -> None:
    token = desk.issuer.mint(AGENT, [Role.AGENT], seconds=60)
    desk.clock.advance(59.5)
    assert desk.authenticator.authenticate(token).id == AGENT
    desk.clock.advance(0.5)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError, match="expired"):
            desk.authenticator.authenticate(token)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(desk: Desk) -> str:
    header = {"alg": "none", "typ": "JWT", "kid": desk.issuer.key_id}
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(desk.claims()).encode())}."


def signed_with_the_public_key(desk: Desk) -> str:
    public = desk.issuer.private_key.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )
    return jwt.encode(desk.claims(), public.ljust(32, b"0"), algorithm="HS256", headers={"kid": desk.issuer.key_id})


def of_another_key(desk: Desk) -> str:
    other = TokenIssuer(Ed25519PrivateKey.generate(), desk.issuer.key_id, desk.clock)
    return other.mint(AGENT, [Role.AGENT])


def tampered(desk: Desk) -> str:
    header, _, signature = desk.issuer.mint(AGENT, [Role.AGENT]).split(".")
    return f"{header}.{b64(json.dumps(desk.claims(roles=['platform'])).encode())}.{signature}"


BAD: dict[str, Callable[[Desk], str]] = {
    "empty": lambda _: "",
    "not a token": lambda _: "letmein",
    "three dots": lambda _: "...",
    "long": lambda desk: desk.signed(pad="x" * 5000),
    "alg none": unsigned,
    "symmetric": signed_with_the_public_key,
    "other key": of_another_key,
    "unknown key": lambda desk: desk.signed({"kid": "elsewhere"}),
    "tampered": tampered,
    "jku": lambda desk: desk.signed({"jku": "https://evil.example/keys"}),
    "jwk": lambda desk: desk.signed({"jwk": {"kty": "OKP"}}),
    "x5u": lambda desk: desk.signed({"x5u": "https://evil.example/c"}),
    "crit": lambda desk: desk.signed({"crit": ["exp"]}),
    "other audience": lambda desk: desk.signed(aud="billing"),
    "no audience": lambda desk: desk.signed(aud=None),
    "no expiry": lambda desk: desk.signed(exp=None),
    "expired": lambda desk: desk.signed(exp=desk.now - 1),
    "expiry is text": lambda desk: desk.signed(exp="tomorrow"),
    "expiry is true": lambda desk: desk.signed(exp=True),
    "lives too long": lambda desk: desk.signed(exp=desk.now + MAX_LIFETIME_SECONDS + 3600),
    "expiry is no number": lambda desk: desk.signed(exp=float("nan")),
    "lives for ever": lambda desk: desk.signed(exp=float("inf")),
    "not yet": lambda desk: desk.signed(nbf=desk.now + 600),
    "no subject": lambda desk: desk.signed(sub=None),
    "empty subject": lambda desk: desk.signed(sub=""),
    "strange subject": lambda desk: desk.signed(sub="agent one"),
    "long subject": lambda desk: desk.signed(sub="a" * 257),
    "no roles": lambda desk: desk.signed(roles=None),
    "empty roles": lambda desk: desk.signed(roles=[]),
    "roles as text": lambda desk: desk.signed(roles="agent"),
    "unknown role": lambda desk: desk.signed(roles=["agent", "root"]),
    "role of another type": lambda desk: desk.signed(roles=[["agent"]]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_token_that_is_not_good_in_every_way_is_refused(desk: Desk, name: str) -> None:
    token = BAD[name](desk)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            desk.authenticator.authenticate(token)


def test_a_token_of_a_key_that_was_withdrawn_ends_with_it(desk: Desk) -> None:
    token = desk.issuer.mint(AGENT, [Role.AGENT])
    assert desk.authenticator.authenticate(token).id == AGENT
    (desk.directory / KEY_SET_FILE).write_text('{"keys": []}')
    desk.clock.advance(1)
    with pytest.raises(UnauthenticatedError, match="unknown key"):
        desk.authenticator.authenticate(token)


def test_a_key_that_was_moved_away_is_followed_by_another_and_counts_until_it_is_taken_out(desk: Desk) -> None:
    before = desk.issuer.mint(AGENT, [Role.AGENT])
    (desk.directory / PRIVATE_KEY_FILE).rename(desk.directory / "old.pem")
    after = local_issuer(desk.directory, desk.clock).mint(AGENT, [Role.AGENT])
    desk.clock.advance(1)
    for token in (before, after):
        assert desk.authenticator.authenticate(token).id == AGENT
    published = desk.directory / KEY_SET_FILE
    new, _old = json.loads(published.read_bytes())["keys"]
    published.write_text(json.dumps({"keys": [new]}))
    # Whoever opens the issuer again, or puts the old key back, publishes nothing that was taken out.
    local_issuer(desk.directory, desk.clock)
    (desk.directory / "old.pem").replace(desk.directory / PRIVATE_KEY_FILE)
    local_issuer(desk.directory, desk.clock)
    desk.clock.advance(1)
    assert desk.authenticator.authenticate(after).id == AGENT
    with pytest.raises(UnauthenticatedError, match="unknown key"):
        desk.authenticator.authenticate(before)


def test_a_key_is_not_made_beside_a_list_of_keys_that_cannot_be_read(desk: Desk) -> None:
    (desk.directory / PRIVATE_KEY_FILE).unlink()
    (desk.directory / KEY_SET_FILE).write_text("{}")
    with pytest.raises(InvalidRequestError, match="cannot be used"):
        local_issuer(desk.directory, desk.clock)
    assert (desk.directory / KEY_SET_FILE).read_text() == "{}"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"keys": 3}', '{"keys": [1, {"kty": "oct", "k": "AA", "kid": "x"}]}']
)
def test_an_unusable_key_file_lets_nobody_in(desk: Desk, content: str) -> None:
    (desk.directory / KEY_SET_FILE).write_text(content)
    with pytest.raises(UnauthenticatedError):
        desk.authenticator.authenticate(desk.issuer.mint(AGENT, [Role.AGENT]))


def test_a_missing_key_file_lets_nobody_in(desk: Desk) -> None:
    (desk.directory / KEY_SET_FILE).unlink()
    with pytest.raises(UnauthenticatedError):
        desk.authenticator.authenticate(desk.issuer.mint(AGENT, [Role.AGENT]))


def test_a_p256_key_of_another_issuer_verifies_es256_and_nothing_else(desk: Desk) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    entry = json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(key.public_key())) | {"kid": "idp-1"}
    (desk.directory / KEY_SET_FILE).write_text(json.dumps({"keys": [entry]}))
    token = jwt.encode(desk.claims(), key, algorithm="ES256", headers={"kid": "idp-1"})
    assert desk.authenticator.authenticate(token).id == AGENT
    with pytest.raises(UnauthenticatedError):
        desk.authenticator.authenticate(desk.signed({"kid": "idp-1"}))


@pytest.mark.parametrize(
    ("subject", "roles", "seconds"), [("a b", [Role.AGENT], 60), ("a", [], 60), ("a", [Role.AGENT], 0)]
)
def test_what_would_not_be_accepted_is_not_minted(desk: Desk, subject: str, roles: list[Role], seconds: int) -> None:
    with pytest.raises(InvalidRequestError):
        desk.issuer.mint(subject, roles, seconds=seconds)


def test_the_memory_of_verified_tokens_is_bounded(desk: Desk) -> None:
    for number in range(4200):
        desk.authenticator.authenticate(desk.issuer.mint(f"agent-{number}", [Role.AGENT]))
    assert len(desk.authenticator._remembered) <= 4096
