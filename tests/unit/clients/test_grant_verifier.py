"""A tool server takes exactly the calls that were granted, and nobody has to be asked for it."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from aisecops_grant.arguments import arguments_sha256
from aisecops_grant.token import GrantClaims, GrantRefusedError, claims_of, take_apart
from aisecops_grant.verifier import FollowedGrantKeys, GrantKeys, GrantVerifier, SeenGrants, certificate_thumbprint
from aisecops_server.adapters.signing.grants import GrantKey, key_set_of
from aisecops_server.adapters.signing.keys import open_key
from aisecops_server.domain.decisions.decision import DecisionId, Obligation
from aisecops_server.domain.grants import grant as issued
from aisecops_server.domain.plans.plan import PlanId, StepId, TraceId
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from tests.scenes.grants.grant_keys import grant_key

NOW = 1_800_000_000
ARGUMENTS = {"to": "ada@example.org", "n": 1.5}
AGENT, THUMBPRINT = "spiffe://example.org/agent/a", "c" * 64
GRANT = issued.Grant(
    id=issued.grant_id("dec-1", 0),
    decision_id=DecisionId("dec-1"),
    trace_id=TraceId("0" * 32),
    plan_id=PlanId("plan-1"),
    plan_hash="a" * 64,
    bundle_revision="b" * 40,
    agent_id=AGENT,
    thumbprint=THUMBPRINT,
    step_id=StepId("s1"),
    step_index=0,
    tool="mail/send",
    arguments_digest=arguments_sha256(ARGUMENTS),
    depends_on=(),
    obligations=(Obligation("redact", "s1", {"fields": ["card"]}),),
    reservation="",
    issued_at_seconds=NOW,
    expires_at_seconds=NOW + 30,
)


@dataclass
class Tool:
    """A tool server with a clock of its own."""

    key: GrantKey
    private: Ed25519PrivateKey
    now: float = NOW

    def __post_init__(self) -> None:
        self.verifier = GrantVerifier(GrantKeys(self.key.key_set()), server="mail", clock=lambda: self.now)

    def verify(self, token: str, **changed: Any) -> GrantClaims:
        call: dict[str, Any] = {"tool": "mail/send", "arguments": ARGUMENTS, "agent_id": AGENT}
        return self.verifier.verify(token, **call | changed)

    def why(self, token: str, **changed: Any) -> str:
        with pytest.raises(GrantRefusedError) as refused:
            self.verify(token, **changed)
        return refused.value.why

    def sign(self, claims: dict[str, Any], **headers: Any) -> str:
        own = jwt.get_unverified_header(self.key.sign(GRANT))
        payload = json.dumps(claims).encode()
        return jwt.api_jws.encode(payload, self.private, algorithm="EdDSA", headers={**own, **headers})


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(grant_key(tmp_path), open_key(tmp_path, "grants").private_key)


def other(**changed: Any) -> issued.Grant:
    return dataclasses.replace(GRANT, **changed)


def test_a_granted_call_is_let_through_once(tool: Tool) -> None:
    token = tool.key.sign(GRANT)
    claims = tool.verify(token)
    assert (claims.id, claims.agent_id, claims.step_id) == (GRANT.id, AGENT, "s1")
    assert claims.obligations == ({"kind": "redact", "parameters": {"fields": ["card"]}},)
    assert tool.why(token) == "reused"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"tool": "mail/delete"}, "other_tool"),
        ({"arguments": {**ARGUMENTS, "to": "eve@evil.example"}}, "other_arguments"),
        ({"arguments": {**ARGUMENTS, "cc": "eve@evil.example"}}, "other_arguments"),
        ({"arguments": {"to": "ada@example.org"}}, "other_arguments"),
        ({"arguments": {**ARGUMENTS, "n": object()}}, "other_arguments"),
        ({"agent_id": "spiffe://example.org/agent/b"}, "other_caller"),
        ({"thumbprint": "d" * 64}, "other_caller"),
        ({"agent_id": ""}, "other_caller"),
    ],
)
def test_any_other_call_is_refused_and_uses_nothing_up(tool: Tool, changed: dict[str, Any], why: str) -> None:
    token = tool.key.sign(GRANT)
    assert tool.why(token, **changed) == why
    assert tool.verify(token).id == GRANT.id


def test_the_caller_may_be_told_by_certificate_alone_or_by_both(tool: Tool) -> None:
    assert tool.verify(tool.key.sign(GRANT), agent_id="", thumbprint=THUMBPRINT)
    assert tool.verify(tool.key.sign(other(id="grt-2.0")), thumbprint=THUMBPRINT)


def test_a_grant_that_was_given_to_a_token_is_the_agents_whichever_certificate_it_shows_here(tool: Tool) -> None:
    given = other(thumbprint="")
    assert tool.why(tool.key.sign(given), agent_id="", thumbprint=THUMBPRINT) == "other_caller"
    assert tool.why(tool.key.sign(given), agent_id="spiffe://example.org/agent/b") == "other_caller"
    claims = tool.verify(tool.key.sign(given), thumbprint="d" * 64)
    assert (claims.agent_id, claims.thumbprint) == (AGENT, "")


def test_a_grant_for_another_server_is_refused(tool: Tool) -> None:
    token = tool.key.sign(other(tool="bank/send"))
    assert tool.why(token, tool="bank/send") == "other_server"
    claims = json.loads(_payload(tool.key.sign(GRANT)))
    assert tool.why(tool.sign({**claims, "aud": "bank"})) == "malformed"


@pytest.mark.parametrize(
    ("seconds", "why"),
    [(34, ""), (35, "expired"), (10**9, "expired"), (-5, ""), (-6, "not_yet_valid"), (-(10**9), "not_yet_valid")],
)
def test_time_is_judged_with_a_bounded_skew(tool: Tool, seconds: int, why: str) -> None:
    tool.now = NOW + seconds
    token = tool.key.sign(GRANT)
    if why:
        assert tool.why(token) == why
    else:
        assert tool.verify(token).id == GRANT.id


def test_a_used_grant_is_remembered_until_no_skew_lets_it_in_again(tool: Tool) -> None:
    token = tool.key.sign(GRANT)
    tool.verify(token)
    for seconds in (0, 29, 30, 34):
        tool.now = NOW + seconds
        assert tool.why(token) == "reused"
    tool.now = NOW + 35
    assert tool.why(token) == "expired"


def test_a_skew_that_would_let_grants_live_on_is_refused(tool: Tool) -> None:
    for skew in (-1, 61):
        with pytest.raises(ValueError, match="skew"):
            GrantVerifier(tool.verifier.keys, server="mail", skew_seconds=skew)


def test_a_grant_that_would_live_too_long_is_refused(tool: Tool) -> None:
    assert tool.why(tool.key.sign(other(expires_at_seconds=NOW + 301))) == "lifetime"
    assert tool.why(tool.key.sign(other(expires_at_seconds=NOW))) == "lifetime"


def test_of_many_threads_with_one_grant_one_is_let_through(tool: Tool) -> None:
    token, through, ready = tool.key.sign(GRANT), [], threading.Barrier(64)

    def race() -> None:
        ready.wait()
        try:
            through.append(tool.verify(token))
        except GrantRefusedError:
            return

    racers = [threading.Thread(target=race) for _ in range(64)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(through) == 1


def test_memory_is_bounded_and_full_means_no_until_grants_end() -> None:
    seen = SeenGrants(most=2)
    seen.use("a", until=10, now=0)
    seen.use("b", until=20, now=0)
    with pytest.raises(GrantRefusedError) as refused:
        seen.use("c", until=30, now=9)
    assert refused.value.why == "full"
    seen.use("c", until=30, now=10)
    with pytest.raises(GrantRefusedError):
        seen.use("c", until=30, now=19)


def test_only_the_keys_that_were_handed_in_count(tool: Tool, tmp_path: Path) -> None:
    stranger = grant_key(tmp_path / "elsewhere")
    assert tool.why(stranger.sign(GRANT)) == "unknown_key"
    own = jwt.get_unverified_header(tool.key.sign(GRANT))["kid"]
    forged = jwt.api_jws.encode(
        _payload(tool.key.sign(GRANT)),
        Ed25519PrivateKey.generate(),
        algorithm="EdDSA",
        headers={"typ": "grant+jwt", "kid": own},
    )
    assert tool.why(forged) == "signature"
    both = json.dumps({"keys": [json.loads(key.key_set())["keys"][0] for key in (tool.key, stranger)]})
    assert GrantKeys(both).read(stranger.sign(GRANT)).id == GRANT.id


@pytest.mark.parametrize(
    "jwks", ["", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "RSA", "kid": "a"}]}', '{"keys": [1]}']
)
def test_keys_that_verify_nothing_are_refused(jwks: str) -> None:
    with pytest.raises(ValueError, match="JWKS"):
        GrantKeys(jwks)


@pytest.mark.parametrize(
    "headers",
    [{"typ": "JWT"}, {"crit": ["exp"]}, {"jku": "https://evil.example"}, {"x5u": "https://evil.example"}],
)
def test_a_header_that_says_anything_else_is_refused(tool: Tool, headers: dict[str, Any]) -> None:
    claims = json.loads(_payload(tool.key.sign(GRANT)))
    assert tool.why(tool.sign(claims, **headers)) == "malformed"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256"])
def test_no_other_algorithm_is_accepted(tool: Tool, algorithm: str) -> None:
    head, payload, signature = tool.key.sign(GRANT).split(".")
    changed = {**json.loads(_decoded(head)), "alg": algorithm}
    assert tool.why(f"{_encoded(json.dumps(changed).encode())}.{payload}.{signature}") == "malformed"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: token + ".",
        lambda token: token + "=",
        lambda token: token.replace(".", ".\n", 1),
        lambda token: " " + token,
        lambda token: token[:-1] + chr(ord(token[-1]) ^ 1),
        lambda token: "x" * 20_000,
        lambda token: "..",
        lambda token: token.replace(".", "", 1),
        lambda token: "é" + token,
    ],
)
def test_another_spelling_of_a_token_is_no_token(tool: Tool, spoil: Callable[[str], str]) -> None:
    assert tool.why(spoil(tool.key.sign(GRANT))) in {"malformed", "signature"}


def test_claims_that_are_no_grant_are_refused_though_they_are_signed(tool: Tool) -> None:
    claims = json.loads(_payload(tool.key.sign(GRANT)))
    needed = set(claims) - {"depends_on", "plan_id", "revision", "reservation"}
    for name in needed:
        without = {other: value for other, value in claims.items() if other != name}
        # Without a confirmation it was given to a token.
        for wrong in (*([without] if name != "cnf" else []), {**claims, name: None}, {**claims, name: True}):
            assert tool.why(tool.sign(wrong)) == "malformed"
    for wrong in ({**claims, "iss": "somebody"}, {**claims, "cnf": {}}, {**claims, "cnf": {"credential#S256": 1}}):
        assert tool.why(tool.sign(wrong)) == "malformed"


def test_a_claim_that_is_given_twice_is_refused(tool: Tool) -> None:
    own = jwt.get_unverified_header(tool.key.sign(GRANT))
    payload = _payload(tool.key.sign(GRANT))[:-1] + b',"tool":"mail/delete"}'
    token = jwt.api_jws.encode(payload, tool.private, algorithm="EdDSA", headers=own)
    assert tool.why(token) == "malformed"


def test_what_is_read_without_keys_is_what_was_signed(tool: Tool) -> None:
    assert claims_of(take_apart(tool.key.sign(GRANT))) == tool.verifier.keys.read(tool.key.sign(GRANT))


def test_a_certificate_has_one_thumbprint_in_either_form(certificate: x509.Certificate) -> None:
    der, pem = certificate.public_bytes(Encoding.DER), certificate.public_bytes(Encoding.PEM)
    assert certificate_thumbprint(der) == certificate_thumbprint(pem) == certificate_thumbprint(pem.decode())


@pytest.fixture
def certificate() -> x509.Certificate:

    key = Ed25519PrivateKey.generate()
    name = x509.Name([])
    begins = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=1))
        .sign(key, None)
    )


def _payload(token: str) -> bytes:
    return _decoded(token.split(".")[1])


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Followed:
    """A control plane whose keys are asked for, and how often they were."""

    def __init__(self, *keys: GrantKey) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.passed = 0.0
        self.is_away = False

    def fetch(self) -> bytes:
        self.asked += 1
        if self.is_away:
            raise ConnectionError("nobody is there")
        current, *earlier = (key.verifier.public_raw for key in self.keys)
        return key_set_of(current, [(public, 1_800_000_000) for public in earlier])

    def keys_of(self, now: float = 1_800_000_000.0) -> FollowedGrantKeys:
        return FollowedGrantKeys(self.fetch, clock=lambda: now, stopwatch=lambda: self.passed)


def test_keys_that_are_followed_are_asked_for_when_one_is_not_known(tmp_path: Path) -> None:
    old, new, stranger = (grant_key(tmp_path / name) for name in ("old", "new", "stranger"))
    served = Followed(old)
    keys = served.keys_of()
    for _ in range(3):
        assert keys.read(old.sign(GRANT)).id == GRANT.id
    assert served.asked == 1
    served.keys = [new, old]
    assert keys.read(new.sign(GRANT)).id == keys.read(old.sign(GRANT)).id == GRANT.id
    assert served.asked == 2
    for _ in range(50):
        with pytest.raises(GrantRefusedError, match="not known here"):
            keys.read(stranger.sign(GRANT))
    assert served.asked == 3
    served.passed = 1.0
    with pytest.raises(GrantRefusedError, match="not known here"):
        keys.read(stranger.sign(GRANT))
    assert served.asked == 4


def test_keys_that_are_followed_are_asked_for_as_they_age_and_kept_while_nobody_answers(tmp_path: Path) -> None:
    old, new = (grant_key(tmp_path / name) for name in ("old", "new"))
    served = Followed(old)
    keys = served.keys_of()
    served.keys = [new]
    served.passed = 9.9
    keys.read(old.sign(GRANT))
    served.passed, served.is_away = 10.0, True
    keys.read(old.sign(GRANT))
    assert served.asked == 2
    served.passed, served.is_away = 20.0, False
    with pytest.raises(GrantRefusedError, match="not known here"):
        keys.read(old.sign(GRANT))
    keys.read(new.sign(GRANT))


def test_of_many_who_meet_a_new_key_at_once_one_asks(tmp_path: Path) -> None:
    old, new = (grant_key(tmp_path / name) for name in ("old", "new"))
    served = Followed(old)
    keys = served.keys_of()
    served.keys = [new, old]
    token = new.sign(GRANT)
    with ThreadPoolExecutor(8) as many:
        assert {claims.id for claims in many.map(keys.read, [token] * 64)} == {GRANT.id}
    assert served.asked == 2


def test_of_many_who_wait_for_somebody_who_does_not_answer_not_each_asks_again(tmp_path: Path) -> None:
    old, new = (grant_key(tmp_path / name) for name in ("old", "new"))
    served, are_there, looks = Followed(old), threading.Event(), itertools.count(1)

    def stopwatch() -> float:
        # Each of the eight looks twice before it asks.
        if next(looks) == 1 + 2 * 8:
            are_there.set()
        return 0.0

    def fetch() -> bytes:
        if served.is_away:
            assert are_there.wait(60)
        return served.fetch()

    keys = FollowedGrantKeys(fetch, clock=lambda: 1_800_000_000.0, stopwatch=stopwatch)
    served.is_away = True
    with ThreadPoolExecutor(8) as many:
        asking = [many.submit(keys.read, new.sign(GRANT)) for _ in range(8)]
    assert all(isinstance(one.exception(), GrantRefusedError) for one in asking)
    # Who came before the first one asked waits for that; who came after it waits for one more.
    assert served.asked <= 3


@pytest.mark.parametrize(
    ("issued", "life", "now", "counts"),
    [(5, 300, 304, True), (6, 30, 10, False), (0, 301, 10, False), (5, 300, 305, False), (-200, 30, 0, True)],
)
def test_a_key_that_was_replaced_counts_for_what_it_issued_and_while_that_lives(
    tmp_path: Path, issued: int, life: int, now: int, *, counts: bool
) -> None:
    old, new = (grant_key(tmp_path / name) for name in ("old", "new"))
    at = 1_800_000_000
    keys = GrantKeys(Followed(new, old).fetch(), clock=lambda: float(at + now))
    grant = replace(GRANT, issued_at_seconds=at + issued, expires_at_seconds=at + issued + life)
    keys.read(new.sign(grant))
    if counts:
        assert keys.read(old.sign(grant)).id == grant.id
    else:
        with pytest.raises(GrantRefusedError, match="signs no more"):
            keys.read(old.sign(grant))
