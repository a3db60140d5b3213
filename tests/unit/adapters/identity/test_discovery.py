"""What a provider says of itself is believed for its own issuer, and only if people can be signed in there."""

from __future__ import annotations

import json

import pytest
from aisecops_server.adapters.identity.discovery import discovery_address, parsed_discovery

ISSUER = "https://login.example/realm"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://login.example/authorize?tenant=1",
    "token_endpoint": "https://tokens.example/token",
    "jwks_uri": "https://login.example/keys",
    "response_types_supported": ["code", "id_token"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "id_token_signing_alg_values_supported": ["RS256"],
}


def document(**changes: object) -> bytes:
    return json.dumps({name: value for name, value in (DOCUMENT | changes).items() if value is not None}).encode()


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/"])
def test_the_document_stands_below_the_issuer(issuer: str) -> None:
    assert discovery_address(issuer) == f"{ISSUER}/.well-known/openid-configuration"


def test_a_document_gives_the_addresses_of_its_provider() -> None:
    found = parsed_discovery(document(authorization_response_iss_parameter_supported=True), ISSUER, with_secret=True)
    assert (found.authorization, found.token, found.keys) == (
        "https://login.example/authorize?tenant=1",
        "https://tokens.example/token",
        "https://login.example/keys",
    )
    assert (found.names_itself, found.leaving) == (True, "")


def test_what_a_provider_does_not_list_is_not_held_against_it() -> None:
    few = {name: None for name in DOCUMENT if name.endswith("_supported")}
    assert not parsed_discovery(document(**few), ISSUER, with_secret=True).names_itself


BAD: dict[str, bytes] = {
    "of another issuer": document(issuer="https://evil.example"),
    "of the issuer with a slash": document(issuer=f"{ISSUER}/"),
    "of the issuer in other letters": document(issuer="https://LOGIN.example/realm"),
    "of no issuer": document(issuer=None),
    "of a list of issuers": document(issuer=[ISSUER]),
    "nothing": b"",
    "a page": b"<!doctype html>",
    "a list": b"[]",
    "twice the same name": b'{"issuer": "https://evil.example", ' + document()[1:],
    "nested without end": b"[" * 100_000,
    "no authorization": document(authorization_endpoint=None),
    "no tokens": document(token_endpoint=None),
    "tokens in plain text": document(token_endpoint="http://tokens.example/token"),
    "tokens from this machine": document(token_endpoint="http://127.0.0.1:8470/token"),
    "tokens from a file": document(token_endpoint="file:///etc/passwd"),
    "a script": document(authorization_endpoint="javascript:alert(1)"),
    "a name and a password": document(authorization_endpoint="https://a:b@login.example/"),
    "two lines": document(authorization_endpoint="https://login.example/\r\nSet-Cookie: a=b"),
    "a fragment": document(authorization_endpoint="https://login.example/#x"),
    "a way out that is a script": document(end_session_endpoint="javascript:alert(1)"),
    "no codes": document(response_types_supported=["id_token"]),
    "no PKCE by S256": document(code_challenge_methods_supported=["plain"]),
    "no algorithm of ours": document(id_token_signing_alg_values_supported=["HS256", "none"]),
    "no secret by Basic": document(token_endpoint_auth_methods_supported=["private_key_jwt"]),
    "what it supports is no list": document(response_types_supported="code"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_document_that_is_not_good_in_every_way_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"its |it "):
        parsed_discovery(BAD[kind], ISSUER, with_secret=True)


def test_a_provider_of_this_machine_stays_on_it() -> None:
    near = {name: f"http://127.0.0.1:1/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    own = document(issuer="http://127.0.0.1:1", **near)
    assert parsed_discovery(own, "http://127.0.0.1:1", with_secret=False).token == "http://127.0.0.1:1/token_endpoint"
    with pytest.raises(ValueError, match="no http address"):
        parsed_discovery(document(issuer="http://127.0.0.1:1"), "http://127.0.0.1:1", with_secret=False)
