"""Keys that a provider publishes: at hand without waiting, never older than they may be."""

from __future__ import annotations

import json

import jwt
import pytest
from aisecops_server.adapters.identity.key_schedule import REFRESH_SECONDS, KeySchedule
from aisecops_server.adapters.identity.key_set import MOST_BYTES, parsed_keys
from aisecops_server.adapters.identity.published_keys import PublishedKeys
from aisecops_server.adapters.identity.tokens import TokenAuthenticator, TokenRules
from aisecops_server.domain.errors import UnauthenticatedError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa

from tests.fakes.clock import FakeClock
from tests.scenes.servers.identity_provider import ISSUER, Provider, entry


class Desk:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.provider = Provider(self.clock)
        self.keys = PublishedKeys(self.provider.fetch, self.clock, KeySchedule(max_age_seconds=3600))
        self.authenticator = TokenAuthenticator(self.keys, self.clock, TokenRules(issuer=ISSUER))

    def passes(self, seconds: float) -> None:
        """Let time go by, fetching whenever it is time."""
        end = self.clock.elapsed_ns / 1e9 + seconds
        while (wait := self.keys.fetch_if_due()) <= end - self.clock.elapsed_ns / 1e9:
            self.clock.advance(wait)
        self.clock.advance(end - self.clock.elapsed_ns / 1e9)

    def refused(self, token: str) -> str:
        with pytest.raises(UnauthenticatedError) as error:
            self.authenticator.authenticate(token)
        return error.value.metadata()["why"]


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.provider.publish("first")
    return made


def test_nobody_is_let_in_before_the_keys_are_there(desk: Desk) -> None:
    assert desk.refused(desk.provider.token("first")) == "key"
    desk.keys.fetch_if_due()
    assert desk.authenticator.authenticate(desk.provider.token("first")).id == "ada"


def test_a_key_that_is_new_is_looked_for_soon_and_not_for_every_token(desk: Desk) -> None:
    desk.passes(10)
    desk.provider.publish("first", "second")
    for _ in range(100):
        assert desk.refused(desk.provider.token("second")) == "key"
        desk.keys.fetch_if_due()
    assert desk.provider.asked == 1
    desk.passes(30)
    assert desk.authenticator.authenticate(desk.provider.token("second")).id == "ada"
    assert desk.provider.asked == 2


def test_a_key_that_is_published_no_more_lets_nobody_in_even_who_was_in(desk: Desk) -> None:
    desk.passes(1)
    token = desk.provider.token("first")
    assert desk.authenticator.authenticate(token).id == "ada"
    desk.provider.publish("second")
    desk.passes(REFRESH_SECONDS)
    assert desk.refused(token) == "key"


def test_a_provider_that_publishes_no_key_any_more_is_believed(desk: Desk) -> None:
    desk.passes(1)
    desk.provider.publish()
    desk.passes(REFRESH_SECONDS)
    assert desk.refused(desk.provider.token("first")) == "key"


@pytest.mark.parametrize("answer", [None, b"", b"<html>", b"{}", b"[]", b'{"keys": 3}', b'{"keys": null}'])
def test_an_answer_that_is_no_set_of_keys_changes_nothing_until_they_are_too_old(
    desk: Desk, answer: bytes | None
) -> None:
    desk.passes(1)
    desk.provider.published = answer
    desk.passes(3590)
    assert desk.authenticator.authenticate(desk.provider.token("first")).id == "ada"
    desk.passes(20)
    assert desk.refused(desk.provider.token("first")) == "key"
    desk.provider.publish("first")
    desk.passes(REFRESH_SECONDS)
    assert desk.authenticator.authenticate(desk.provider.token("first")).id == "ada"


def test_a_provider_that_does_not_answer_is_asked_ever_more_seldom(desk: Desk) -> None:
    desk.provider.published = None
    waits = []
    for _ in range(12):
        waits.append(desk.keys.fetch_if_due())
        desk.clock.advance(waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_turning_the_clock_back_keeps_no_key_alive(desk: Desk) -> None:
    desk.passes(1)
    desk.provider.published = None
    desk.clock.at_ns -= 10 * 3600 * 1_000_000_000
    desk.clock.elapsed_ns += 3600 * 1_000_000_000
    assert desk.refused(desk.provider.token("first")) == "key"


BAD = {
    "another issuer": {"iss": "https://evil.example/"},
    "no issuer": {"iss": None},
    "an issuer that is nearly ours": {"iss": ISSUER.rstrip("/")},
    "another audience": {"aud": "billing"},
    "one of several audiences is not ours": {"aud": ["billing", "aisecops-staging"]},
}


@pytest.mark.parametrize("name", BAD)
def test_a_token_for_somebody_else_or_from_somebody_else_is_refused(desk: Desk, name: str) -> None:
    desk.passes(1)
    assert desk.refused(desk.provider.token("first", **BAD[name])) == "token"


def test_the_id_of_one_key_with_the_signature_of_another_is_refused(desk: Desk) -> None:
    desk.provider.publish("first", "second")
    desk.passes(1)
    desk.provider.keys["first"], desk.provider.keys["second"] = (
        desk.provider.keys["second"],
        desk.provider.keys["first"],
    )
    assert desk.refused(desk.provider.token("first")) == "token"


def test_roles_are_read_where_the_provider_puts_them() -> None:
    for claim, claims in (
        ("groups", {"groups": ["security"]}),
        ("https://login.example/roles", {"https://login.example/roles": ["security"]}),
        ("/realm_access/roles", {"realm_access": {"roles": ["security"]}}),
        ("/resource_access/ai~1ops/roles", {"resource_access": {"ai/ops": {"roles": ["security"]}}}),
    ):
        desk = Desk()
        desk.provider.publish("first")
        desk.passes(1)
        desk.authenticator.rules = TokenRules(issuer=ISSUER, roles_claim=claim)
        token = desk.provider.token("first", roles=None, **claims)
        assert [role.value for role in desk.authenticator.authenticate(token).roles] == ["security"]
        # What stands where nobody looks gives nobody a role.
        assert desk.refused(desk.provider.token("first")) == "roles"


def test_of_rsa_keys_the_long_ones_verify_what_they_say_and_nothing_else() -> None:
    long, short = generate_rsa(65537, 2048), generate_rsa(65537, 1024)
    content = json.dumps(
        {
            "keys": [
                entry(long, "rs", "RS256"),
                entry(long, "ps", "PS256") | {"alg": "PS256"},
                entry(short, "short", "RS256"),
                entry(long, "for encryption", "RS256") | {"use": "enc"},
                {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
                {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
                entry(Ed25519PrivateKey.generate(), "twice", "EdDSA"),
                entry(Ed25519PrivateKey.generate(), "twice", "EdDSA"),
                json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(long)) | {"kid": "private"},
                "a word",
            ]
        }
    ).encode()
    assert {name: key.algorithm for name, key in parsed_keys(content).items()} == {"rs": "RS256", "ps": "PS256"}


def test_a_set_nested_without_end_is_refused() -> None:
    with pytest.raises(ValueError):
        parsed_keys(b'{"keys": ' + b"[" * (MOST_BYTES // 2))
