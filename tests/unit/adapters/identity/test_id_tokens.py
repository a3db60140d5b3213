"""An ID token proves somebody with the nonce of the sign-in that it came from, and nobody without."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from aisecops_server.adapters.identity.key_set import KeySet
from aisecops_server.adapters.identity.tokens import TokenAuthenticator, TokenRules
from aisecops_server.adapters.identity.watched_file import WatchedFile
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import UnauthenticatedError
from cryptography.hazmat.primitives import serialization

from tests.fakes.clock import FakeClock
from tests.scenes.servers.identity_provider import ISSUER, Provider

CLIENT, NONCE = "ui", "n-of-this-sign-in"


class Desk:
    """A provider, and an authenticator that people sign in at."""

    def __init__(self, directory: Path, *, client_id: str = CLIENT) -> None:
        self.clock = FakeClock()
        self.provider = Provider(self.clock)
        self.provider.publish("one")
        (directory / "keys.json").write_bytes(self.provider.published)
        keys = KeySet(WatchedFile(directory / "keys.json", self.clock))
        self.tokens = TokenAuthenticator(keys, self.clock, TokenRules(issuer=ISSUER, client_id=client_id))

    @property
    def now(self) -> int:
        return self.clock.now_ns() // 1_000_000_000

    def token(self, **changes: object) -> str:
        return self.provider.token("one", **{"aud": CLIENT, "nonce": NONCE, "iat": self.now, **changes})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


GOOD: dict[str, dict[str, object]] = {
    "for us": {},
    "for us, in a list": {"aud": [CLIENT]},
    "for us as the party": {"azp": CLIENT},
    "for us and the API": {"aud": [CLIENT, "aisecops"], "azp": CLIENT},
    "by a clock that goes a little before": {"iat": 1_800_000_020},
}


@pytest.mark.parametrize("kind", GOOD)
def test_an_id_token_proves_who_signed_in_by_the_rules_of_every_token(desk: Desk, kind: str) -> None:
    principal = desk.tokens.authenticate(desk.token(**GOOD[kind]), NONCE)
    assert (principal.id, principal.roles) == ("ada", {Role.SECURITY})


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(desk: Desk) -> str:
    header = _encoded(json.dumps({"alg": "none", "kid": "one"}).encode())
    return f"{header}.{desk.token().split('.')[1]}."


def signed_with_the_public_key(desk: Desk) -> str:
    # By hand, because no library signs with a public key any more.
    header, claims = _encoded(json.dumps({"alg": "HS256", "kid": "one"}).encode()), desk.token().split(".")[1]
    public = desk.provider.keys["one"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"{header}.{claims}.{_encoded(hmac.digest(pem, f'{header}.{claims}'.encode(), 'sha256'))}"


BAD: dict[str, tuple[str, Callable[[Desk], str]]] = {
    "of another sign-in": ("nonce", lambda desk: desk.token(nonce="n-of-another")),
    "of no sign-in": ("nonce", lambda desk: desk.token(nonce=None)),
    "a nonce that is no text": ("nonce", lambda desk: desk.token(nonce=[NONCE])),
    "a nonce that cannot be written": ("nonce", lambda desk: desk.token(nonce="\ud800")),
    "for another client": ("token", lambda desk: desk.token(aud="other")),
    "for the API": ("token", lambda desk: desk.token(aud="aisecops")),
    "for nobody": ("token", lambda desk: desk.token(aud=None)),
    "for others as well": ("party", lambda desk: desk.token(aud=[CLIENT, "other"], azp=CLIENT)),
    "for two, and not said whose": ("party", lambda desk: desk.token(aud=[CLIENT, "aisecops"])),
    "of another party": ("party", lambda desk: desk.token(azp="other")),
    "a party that is no text": ("party", lambda desk: desk.token(azp=[CLIENT])),
    "of another issuer": ("token", lambda desk: desk.token(iss=f"{ISSUER}x")),
    "of the issuer without its slash": ("token", lambda desk: desk.token(iss=ISSUER.rstrip("/"))),
    "of no issuer": ("token", lambda desk: desk.token(iss=None)),
    "over": ("expired", lambda desk: desk.token(exp=desk.now - 1)),
    "without an end": ("token", lambda desk: desk.token(exp=None)),
    "made later than now": ("not_yet", lambda desk: desk.token(iat=desk.now + 300)),
    "made at no time": ("token", lambda desk: desk.token(iat=None)),
    "made at a time that is text": ("token", lambda desk: desk.token(iat="now")),
    "made at no number": ("token", lambda desk: desk.token(iat=float("nan"))),
    "without a subject": ("token", lambda desk: desk.token(sub=None)),
    "without a role": ("roles", lambda desk: desk.token(roles=None)),
    "unsigned": ("token", unsigned),
    "signed with what is published": ("token", signed_with_the_public_key),
    "of many kilobytes": ("token", lambda desk: desk.token(groups=["x" * 100] * 100)),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_id_token_that_is_not_good_in_every_way_signs_nobody_in(desk: Desk, kind: str) -> None:
    why, made = BAD[kind]
    token = made(desk)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError) as refused:
            desk.tokens.authenticate(token, NONCE)
        assert refused.value.metadata()["why"] == why


def test_what_was_proved_with_its_nonce_proves_nothing_without_or_with_another(desk: Desk) -> None:
    token = desk.token()
    assert desk.tokens.authenticate(token, NONCE).id == "ada"
    for nonce in ("", "n-of-another"):
        with pytest.raises(UnauthenticatedError):
            desk.tokens.authenticate(token, nonce)
    assert desk.tokens.authenticate(token, NONCE).id == "ada"


def test_a_token_for_the_api_signs_nobody_in(desk: Desk) -> None:
    token = desk.token(aud="aisecops")
    assert desk.tokens.authenticate(token).id == "ada"
    with pytest.raises(UnauthenticatedError):
        desk.tokens.authenticate(token, NONCE)


def test_a_session_ends_with_its_id_token_and_with_the_key_that_signed_it(desk: Desk, tmp_path: Path) -> None:
    short, long = desk.token(exp=desk.now + 60), desk.token()
    assert {desk.tokens.authenticate(token, NONCE).id for token in (short, long)} == {"ada"}
    desk.clock.advance(60)
    with pytest.raises(UnauthenticatedError, match="expired"):
        desk.tokens.authenticate(short, NONCE)
    desk.provider.publish("two")
    (tmp_path / "keys.json").write_bytes(desk.provider.published)
    desk.clock.advance(2)
    with pytest.raises(UnauthenticatedError, match="unknown key"):
        desk.tokens.authenticate(long, NONCE)


@pytest.mark.parametrize("aud", ["", CLIENT, "aisecops"])
def test_where_nobody_signs_in_by_a_provider_no_nonce_opens_anything(tmp_path: Path, aud: str) -> None:
    desk = Desk(tmp_path, client_id="")
    with pytest.raises(UnauthenticatedError):
        desk.tokens.authenticate(desk.token(aud=aud), NONCE)
