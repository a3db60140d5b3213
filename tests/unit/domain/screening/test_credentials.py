"""Secrets are found where they stand, whole, in every format; placeholders and look-alikes are told apart."""

from __future__ import annotations

import base64

import pytest
from aisecops_server.domain.screening.credentials import has_bech32, has_crc
from aisecops_server.domain.screening.detection import Detection, DetectionKind
from aisecops_server.domain.screening.inspection import inspect

from tests.unit.domain.screening.secrets_made import ACCESS_KEYS, AGE, LETTERS, SECRETS, with_crc

ALL = [*SECRETS.items(), *(("secret.access_key", key) for key in ACCESS_KEYS)]


def secrets(text: str) -> list[Detection]:
    return [seen for seen in inspect(text).detections if seen.kind is DetectionKind.SECRET]


@pytest.mark.parametrize(("detector", "secret"), ALL, ids=[f"{name}-{secret[:6]}" for name, secret in ALL])
@pytest.mark.parametrize("around", ["{}", "use {} please", '{{"key": "{}"}}', "Schlüssel\uff1a{}。", "a\n{}\nb"])
def test_every_format_is_found_whole_and_not_quoted(detector: str, secret: str, around: str) -> None:
    text = around.format(secret)
    found = [seen for seen in secrets(text) if seen.detector == detector]
    assert [text[seen.start : seen.end] for seen in found] == [secret]
    assert [seen.excerpt for seen in found] == [""]


def test_the_checksum_of_a_published_token_is_right() -> None:
    # An expired one that was published to show the format.
    assert has_crc("gh" + "p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" + "0mLq17")
    assert has_bech32(AGE)


@pytest.mark.parametrize("name", ["secret.github_token", "secret.npm_token", "secret.age_key"])
def test_a_token_with_one_letter_changed_is_told_as_a_look_alike(name: str) -> None:
    secret = SECRETS[name]
    for at in (len(secret) - 20, len(secret) - 1):
        changed = secret[:at] + ("Q" if secret[at] != "Q" else "Z") + secret[at + 1 :]
        assert [seen.detector for seen in secrets(f"key {changed}")] == ["secret.token_lookalike"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("my password is {}", "Tr0ub4dor&3"),
        ("password: {}", "correct-horse-battery-staple"),
        ("API_KEY='{}'", "f7Kd92jLq0Zx8s"),
        ('client_secret = "{}"', "9x$Lk2!vQp7"),
        ("das Passwort lautet {}", "Kx9#mQ2v"),
        ("DB_PASSWORD={}", "p4ssW0rd!2026"),
        ("token => {}", "a8f5f167f44f4964e6c998dee827110c"),
    ],
)
def test_a_value_that_is_given_to_a_name_of_a_secret_is_found(text: str, value: str) -> None:
    said = text.format(value)
    assert [(seen.detector, said[seen.start : seen.end]) for seen in secrets(said)] == [("secret.assignment", value)]


@pytest.mark.parametrize(
    "text",
    [
        "password: your-password-here",
        "password = os.environ['DB_PASSWORD']",
        "token = settings.api_token",
        "secret: ${VAULT_SECRET}",
        "api_key: <insert key>",
        "API_KEY=xxxxxxxxxxxxxxxx",
        "password is required",
        "the token is valid for one hour",
        "private_key: Ed25519PrivateKey",
        "token = request.headers.get('x')",
        "reset your password: https://id.example.com/reset",
        "the AKIA prefix",
        "a task-force of sk-aters",
        "desk-abcdefghijklmnopqrstuvwxyz",
        "-----BEGIN PUBLIC KEY-----",
        "eyJub3QiOiJhIHRva2VuIn0.eyJhIjoxfQ.abc",
        "https://user:password@host.example/",
    ],
)
def test_placeholders_code_and_prose_are_no_secrets(text: str) -> None:
    assert secrets(text) == []


def test_a_secret_inside_base64_is_found_as_what_holds_it() -> None:
    secret = SECRETS["secret.github_token"]
    held = base64.b64encode(f"the key is {secret} now".encode()).decode()
    [found] = secrets(f"attachment {held} end")
    assert (found.detector, found.disguise, found.start) == ("secret.github_token", "base64", len("attachment "))


def test_a_secret_with_invisible_characters_inside_is_found_whole() -> None:
    secret = SECRETS["secret.github_token"]
    hidden = "\u200b".join((secret[:9], secret[9:]))
    [found] = secrets(f"use {hidden} now")
    assert found.end - found.start == len(hidden)


def test_a_key_without_its_last_line_is_found_to_the_end_of_what_may_be_key() -> None:
    block = SECRETS["secret.private_key"].partition("-----END")[0]
    [found] = [seen for seen in secrets(f"{block}\n\n(that is all)") if seen.detector == "secret.private_key"]
    assert found.end >= len(block.rstrip())


def test_two_secrets_side_by_side_are_two() -> None:
    one, two = with_crc("gh" + "o_", LETTERS[:30]), with_crc("gh" + "s_", LETTERS[1:31])
    assert len(secrets(f"{one} {two}")) == 2
