"""Only what this control plane signed as a grant is a grant."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from aisecops_server.adapters.signing.grants import GrantKey
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.domain.decisions.decision import DecisionId, Obligation
from aisecops_server.domain.errors import GrantNotUsableError
from aisecops_server.domain.grants.grant import Grant, claims_of, grant_id
from aisecops_server.domain.plans.plan import PlanId, StepId, TraceId

from tests.scenes.grants.grant_keys import grant_key

GRANT = Grant(
    id=grant_id("dec-1", 0),
    decision_id=DecisionId("dec-1"),
    trace_id=TraceId("0" * 32),
    plan_id=PlanId("plan-1"),
    plan_hash="a" * 64,
    bundle_revision="b" * 40,
    agent_id="agent-a",
    thumbprint="c" * 64,
    step_id=StepId("s1"),
    step_index=0,
    tool="mail/send",
    arguments_digest="d" * 64,
    depends_on=(StepId("s0"),),
    obligations=(Obligation("redact", "s1", {"fields": ["card"], "share": 0.5}),),
    reservation="",
    issued_at_seconds=1_800_000_000,
    expires_at_seconds=1_800_000_030,
)


@pytest.fixture
def key(tmp_path: Path) -> GrantKey:
    return grant_key(tmp_path / "keys")


def private(tmp_path: Path) -> Any:
    return open_key(tmp_path / "keys", "grants").private_key


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def why(key: GrantKey, token: str) -> str:
    with pytest.raises(GrantNotUsableError) as refused:
        key.read(token)
    return refused.value.metadata()["why"]


def test_a_grant_is_read_as_it_was_signed_and_always_signed_alike(key: GrantKey, tmp_path: Path) -> None:
    token = key.sign(GRANT)
    assert key.read(token) == GRANT
    assert key.sign(GRANT) == grant_key(tmp_path / "keys").sign(GRANT) == token
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "EdDSA", "typ": "grant+jwt", "kid": header["kid"]}


def test_what_was_just_signed_is_known_and_only_that(key: GrantKey, tmp_path: Path) -> None:
    token = key.sign(GRANT)
    assert key.read(token) is GRANT
    assert grant_key(tmp_path / "keys").read(token) == GRANT
    assert why(key, token + "A") == "forged"


def test_the_published_key_verifies_and_is_only_the_public_one(key: GrantKey) -> None:
    [entry] = json.loads(key.key_set())["keys"]
    assert set(entry) == {"kty", "crv", "x", "kid", "alg", "use"}
    claims = jwt.decode(
        key.sign(GRANT),
        jwt.PyJWK(entry),
        algorithms=["EdDSA"],
        audience="mail",
        issuer="aisecops",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims == claims_of(GRANT)


def test_the_key_of_grants_is_one_of_its_own(tmp_path: Path, key: GrantKey) -> None:
    bundle = open_key(tmp_path / "keys", "bundle")
    token = jwt.encode(
        claims_of(GRANT), bundle.private_key, algorithm="EdDSA", headers=jwt.get_unverified_header(key.sign(GRANT))
    )
    assert why(key, token) == "forged"


@pytest.mark.parametrize(
    "headers",
    [
        {"typ": "JWT"},
        {"kid": "other"},
        {"crit": ["exp"]},
        {"jku": "https://evil.example/keys"},
        {"jwk": {"kty": "OKP"}},
    ],
)
def test_a_header_that_is_not_exactly_ours_is_refused(key: GrantKey, tmp_path: Path, headers: dict[str, Any]) -> None:
    own = jwt.get_unverified_header(key.sign(GRANT))
    token = jwt.encode(claims_of(GRANT), private(tmp_path), algorithm="EdDSA", headers={**own, **headers})
    assert why(key, token) == "forged"


def test_no_other_algorithm_is_accepted(key: GrantKey) -> None:
    own = jwt.get_unverified_header(key.sign(GRANT))
    payload = part(claims_of(GRANT))
    [entry] = json.loads(key.key_set())["keys"]
    for algorithm, secret in (("none", b""), ("HS256", entry["x"].encode()), ("HS256", key.key_set())):
        head = part({**own, "alg": algorithm})
        mac = hmac.new(secret, f"{head}.{payload}".encode(), hashlib.sha256).digest() if secret else b""
        assert why(key, f"{head}.{payload}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}") == "forged"


@pytest.mark.parametrize("name", sorted(claims_of(GRANT)))
def test_claims_that_are_signed_but_no_grant_are_refused(key: GrantKey, tmp_path: Path, name: str) -> None:
    own = jwt.get_unverified_header(key.sign(GRANT))
    claims = claims_of(GRANT)
    without = {other: value for other, value in claims.items() if other != name}
    broken = [{**claims, name: None}, {**claims, name: [1]}, {**claims, "more": 1}]
    # Without a certificate that it was given to, a grant is the agent's; everything else has to be said.
    for wrong in (*broken, *([] if name == "cnf" else [without])):
        payload = json.dumps(wrong).encode()
        token = jwt.api_jws.encode(payload, private(tmp_path), algorithm="EdDSA", headers=own)
        assert why(key, token) == "forged"


def test_a_grant_of_no_certificate_is_one_that_was_given_to_a_token(key: GrantKey, tmp_path: Path) -> None:
    given = replace(GRANT, thumbprint="")
    token = key.sign(given)
    assert "cnf" not in jwt.decode(token, options={"verify_signature": False})
    # Read from the token itself by the same key, which did not sign it since it was opened.
    assert grant_key(tmp_path / "keys").read(token) == given


def test_every_single_changed_byte_is_noticed(key: GrantKey) -> None:
    token = key.sign(GRANT)
    for at in range(0, len(token) - 1, 7):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert why(key, changed) == "forged"


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "x" * 20_000, "[" * 9000])
def test_what_is_no_token_is_refused(key: GrantKey, token: str) -> None:
    assert why(key, token) == "forged"
