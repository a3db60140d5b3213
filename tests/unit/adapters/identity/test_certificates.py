"""A client certificate names one principal of the trust domain, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.identity.authorities import open_authorities
from aisecops_server.adapters.identity.certificates import CertificateAuthenticator, CertificateRules
from aisecops_server.adapters.identity.identities import open_identities
from aisecops_server.domain.callers.identity import Principal, Role
from aisecops_server.domain.errors import InvalidRequestError, UnauthenticatedError
from cryptography import x509

from tests.fakes.clock import FakeClock
from tests.scenes.servers.certificates import SERVER, Pair, certificate, uri

AGENT = "spiffe://corp.example/agent/support"
ADA = "spiffe://corp.example/person/ada"
HOUR = 3600


class Desk:
    """An authenticator that trusts one authority."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.authority = self.made(authority=True, common="authority", ends=24 * HOUR)
        self.anchors = directory / "ca.pem"
        self.anchors.write_bytes(self.authority.pem)
        self.identities = directory / "identities.yaml"
        self.identities.write_text(f"people:\n  {ADA}: [security, auditor]\n")
        self.authenticator = CertificateAuthenticator(
            open_authorities(self.anchors, self.clock),
            open_identities(self.identities, read_yaml=parse_yaml, clock=self.clock),
            self.clock,
            CertificateRules("corp.example"),
        )

    def made(self, *names: x509.GeneralName, **wishes: object) -> Pair:
        return certificate(*names, now=self.clock.now_ns() / 1e9, **wishes)

    def issued(self, *names: str, **wishes: object) -> Pair:
        return self.made(*map(uri, names), **{"of": self.authority, **wishes})

    def principal(self, pair: Pair, *between: Pair) -> Principal:
        return self.authenticator.authenticate(pair.pem, b"".join(part.pem for part in between))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_agent_is_told_by_the_path_of_its_id_and_has_that_role_only(desk: Desk) -> None:
    pair = desk.issued(AGENT)
    principal = desk.principal(pair)
    assert (principal.id, principal.authenticated_by) == (AGENT, "certificate")
    assert principal.roles == {Role.AGENT}
    assert principal.thumbprint == pair.thumbprint


def test_people_have_the_roles_that_the_file_says_and_others_have_none(desk: Desk) -> None:
    assert desk.principal(desk.issued(ADA)).roles == {Role.SECURITY, Role.AUDITOR}
    assert desk.principal(desk.issued("spiffe://corp.example/person/eve")).roles == frozenset()
    # The path of agents is a folder, not the beginning of a word.
    assert desk.principal(desk.issued("spiffe://corp.example/agents/support")).roles == frozenset()


def test_an_agent_that_the_file_lists_among_people_stays_an_agent(desk: Desk) -> None:
    desk.identities.write_text(f"people:\n  {AGENT}: [platform]\n")
    desk.clock.advance(1)
    desk.authenticator.identities.refresh()
    assert desk.principal(desk.issued(AGENT)).roles == {Role.AGENT}


BAD: dict[str, Callable[[Desk], Pair]] = {
    "self-signed": lambda desk: desk.made(uri(AGENT)),
    "another authority": lambda desk: desk.made(uri(AGENT), of=desk.made(authority=True, common="other")),
    "an authority of the same name": lambda desk: desk.made(
        uri(AGENT), of=desk.made(authority=True, common="authority")
    ),
    "signed by an agent": lambda desk: desk.made(uri(ADA), of=desk.issued(AGENT, common="agent")),
    "the authority itself": lambda desk: desk.authority,
    "an authority below it": lambda desk: desk.issued(AGENT, authority=True),
    "a server's": lambda desk: desk.issued(AGENT, usage=(SERVER,)),
    "no name": lambda desk: desk.issued(),
    "two URIs": lambda desk: desk.issued(AGENT, ADA),
    "the same URI twice": lambda desk: desk.issued(AGENT, AGENT),
    "a host name": lambda desk: desk.made(x509.DNSName("corp.example"), of=desk.authority),
    "a web address": lambda desk: desk.issued("https://corp.example/agent/support"),
    "another trust domain": lambda desk: desk.issued("spiffe://evil.example/agent/support"),
    "a trust domain below": lambda desk: desk.issued("spiffe://x.corp.example/agent/support"),
    "a wildcard for trust domains": lambda desk: desk.issued("spiffe://*/agent/support"),
    "a wildcard below ours": lambda desk: desk.issued("spiffe://*.corp.example/agent/support"),
    "a port": lambda desk: desk.issued("spiffe://corp.example:443/agent/support"),
    "a user": lambda desk: desk.issued("spiffe://root@corp.example/agent/support"),
    "capitals": lambda desk: desk.issued("SPIFFE://corp.example/agent/support"),
    "capitals in the domain": lambda desk: desk.issued("spiffe://Corp.example/agent/support"),
    "no path": lambda desk: desk.issued("spiffe://corp.example"),
    "an empty path": lambda desk: desk.issued("spiffe://corp.example/"),
    "a slash at the end": lambda desk: desk.issued(f"{AGENT}/"),
    "an empty segment": lambda desk: desk.issued("spiffe://corp.example//agent/support"),
    "a relative segment": lambda desk: desk.issued("spiffe://corp.example/person/../agent/support"),
    "an escape": lambda desk: desk.issued("spiffe://corp.example/agent/%73upport"),
    "a query": lambda desk: desk.issued(f"{AGENT}?role=security"),
    "a fragment": lambda desk: desk.issued(f"{AGENT}#x"),
    "too long": lambda desk: desk.issued(f"spiffe://corp.example/agent/{'a' * 250}"),
    "expired": lambda desk: desk.issued(AGENT, begins=-2 * HOUR, ends=0),
    "not yet": lambda desk: desk.issued(AGENT, begins=31),
    "lives too long": lambda desk: desk.issued(AGENT, ends=25 * HOUR),
}


@pytest.mark.parametrize("name", BAD)
def test_a_certificate_that_is_not_good_in_every_way_is_refused(desk: Desk, name: str) -> None:
    pair = BAD[name](desk)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            desk.principal(pair)


@pytest.mark.parametrize("pem", [b"", b"letmein", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(desk: Desk, pem: bytes) -> None:
    with pytest.raises(UnauthenticatedError):
        desk.authenticator.authenticate(pem)
    with pytest.raises(UnauthenticatedError):
        desk.authenticator.authenticate(desk.issued(AGENT).pem, b"-----BEGIN CERTIFICATE-----\nAAAA\n" + pem)


def test_two_certificates_in_the_place_of_one_are_refused(desk: Desk) -> None:
    with pytest.raises(UnauthenticatedError):
        desk.authenticator.authenticate(desk.issued(AGENT).pem + desk.issued(ADA).pem)


def test_an_authority_between_is_followed_and_ends_what_it_signed(desk: Desk) -> None:
    between = desk.issued(authority=True, common="between", ends=HOUR)
    pair = desk.made(uri(AGENT), of=between, ends=2 * HOUR)
    assert desk.principal(pair, between).id == AGENT
    with pytest.raises(UnauthenticatedError, match="no authority"):
        desk.principal(pair)
    desk.clock.advance(HOUR)
    with pytest.raises(UnauthenticatedError, match="expired"):
        desk.principal(pair, between)


def test_a_certificate_ends_with_its_life_even_when_it_is_remembered(desk: Desk) -> None:
    pair = desk.issued(AGENT)
    assert desk.principal(pair).id == AGENT
    desk.clock.advance(HOUR)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError, match="expired"):
            desk.principal(pair)


def test_a_clock_that_jumps_lets_nobody_in_before_or_after_their_time(desk: Desk) -> None:
    pair = desk.issued(AGENT)
    assert desk.principal(pair).id == AGENT
    for days, why in ((400, "expired"), (-800, "not valid yet")):
        desk.clock.at_ns += days * 24 * HOUR * 1_000_000_000
        with pytest.raises(UnauthenticatedError, match=why):
            desk.principal(pair)


def test_an_authority_that_is_withdrawn_takes_with_it_whom_it_named(desk: Desk) -> None:
    pair = desk.issued(AGENT)
    assert desk.principal(pair).id == AGENT
    desk.anchors.write_bytes(desk.made(authority=True, common="authority").pem)
    desk.clock.advance(1)
    with pytest.raises(UnauthenticatedError, match="no authority"):
        desk.principal(pair)


def test_a_renewed_authority_counts_beside_the_one_before(desk: Desk) -> None:
    renewed = desk.made(authority=True, common="authority", ends=30 * 24 * HOUR)
    desk.anchors.write_bytes(desk.authority.pem + renewed.pem)
    desk.clock.advance(1)
    assert desk.principal(desk.issued(AGENT)).id == AGENT
    assert desk.principal(desk.made(uri(AGENT), of=renewed)).id == AGENT


@pytest.mark.parametrize("content", [b"", b"letmein"])
def test_a_file_of_authorities_that_breaks_changes_nothing(desk: Desk, content: bytes) -> None:
    pair = desk.issued(AGENT)
    desk.anchors.write_bytes(content)
    desk.clock.advance(1)
    assert desk.principal(pair).id == AGENT
    with pytest.raises(InvalidRequestError, match="no certificate of an authority"):
        open_authorities(desk.anchors, desk.clock)


def test_a_leaf_among_the_authorities_vouches_for_nobody(desk: Desk) -> None:
    leaf = desk.issued(AGENT, common="leaf")
    desk.anchors.write_bytes(desk.authority.pem + leaf.pem)
    desk.clock.advance(1)
    with pytest.raises(UnauthenticatedError, match="no authority"):
        desk.principal(desk.made(uri(ADA), of=leaf))


def test_the_memory_of_verified_certificates_is_bounded(desk: Desk) -> None:
    pair = desk.issued(AGENT)
    for number in range(4200):
        # The same certificate after other text is another one to the memory.
        desk.authenticator.authenticate(f"{number}\n".encode() + pair.pem)
    assert len(desk.authenticator._remembered) <= 4096
