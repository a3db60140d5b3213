"""A caller with two credentials is one principal, or nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.identity.authorities import open_authorities
from aisecops_server.adapters.identity.callers import CallerAuthenticator
from aisecops_server.adapters.identity.certificates import CertificateAuthenticator, CertificateRules
from aisecops_server.adapters.identity.identities import open_identities
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE, local_issuer
from aisecops_server.adapters.identity.key_set import KeySet
from aisecops_server.adapters.identity.tokens import TokenAuthenticator
from aisecops_server.adapters.identity.watched_file import WatchedFile
from aisecops_server.domain.callers.identity import Presented, Role
from aisecops_server.domain.errors import UnauthenticatedError

from tests.fakes.clock import FakeClock
from tests.scenes.servers.certificates import certificate, uri

AGENT = "spiffe://corp.example/agent/support"
ADA = "spiffe://corp.example/person/ada"


class Desk:
    """Everything that a caller can prove itself with."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.identities = directory / "identities.yaml"
        self.identities.write_text("withdrawn: []\n")
        authority = certificate(now=self.clock.now_ns() / 1e9, authority=True, common="authority", ends=86_400)
        (directory / "ca.pem").write_bytes(authority.pem)
        self.issuer = local_issuer(directory / "keys", self.clock)
        self.agent = certificate(uri(AGENT), of=authority, now=self.clock.now_ns() / 1e9)
        read = open_identities(self.identities, read_yaml=parse_yaml, clock=self.clock)
        self.tokens = TokenAuthenticator(
            KeySet(WatchedFile(directory / "keys" / KEY_SET_FILE, self.clock)), self.clock, identities=read
        )
        anchors = open_authorities(directory / "ca.pem", self.clock)
        rules = CertificateRules("corp.example")
        self.callers = CallerAuthenticator(
            self.tokens, CertificateAuthenticator(anchors, read, self.clock, rules), read
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_who_presents_nothing_is_nobody(desk: Desk) -> None:
    with pytest.raises(UnauthenticatedError, match="no credential"):
        desk.callers.authenticate(Presented())


def test_the_certificate_is_who_calls_and_a_token_beside_it_adds_no_role(desk: Desk) -> None:
    token = desk.issuer.mint(AGENT, [Role.AGENT, Role.SECURITY])
    principal = desk.callers.authenticate(Presented(token, desk.agent.pem))
    assert (principal.authenticated_by, principal.thumbprint) == ("certificate", desk.agent.thumbprint)
    assert principal.roles == {Role.AGENT}


def test_a_token_of_somebody_else_beside_a_certificate_proves_neither(desk: Desk) -> None:
    token = desk.issuer.mint(ADA, [Role.SECURITY])
    with pytest.raises(UnauthenticatedError, match="somebody else") as refused:
        desk.callers.authenticate(Presented(token, desk.agent.pem))
    assert refused.value.metadata() == {"why": "mismatch", "certificate": AGENT, "token": ADA}


def test_a_bad_token_beside_a_good_certificate_is_not_overlooked(desk: Desk) -> None:
    with pytest.raises(UnauthenticatedError, match="not a token"):
        desk.callers.authenticate(Presented("letmein", desk.agent.pem))


def test_a_good_token_beside_a_bad_certificate_does_not_make_up_for_it(desk: Desk) -> None:
    token = desk.issuer.mint(AGENT, [Role.AGENT])
    stranger = certificate(uri(AGENT), now=desk.clock.now_ns() / 1e9)
    with pytest.raises(UnauthenticatedError, match="no authority"):
        desk.callers.authenticate(Presented(token, stranger.pem))


def test_where_no_authority_is_configured_a_certificate_proves_nothing(desk: Desk) -> None:
    with pytest.raises(UnauthenticatedError, match="no certificate is accepted"):
        CallerAuthenticator(desk.tokens).authenticate(Presented(certificate=desk.agent.pem))


def test_tokens_have_their_own_thumbprints(desk: Desk) -> None:
    first, second = (desk.issuer.mint(AGENT, [Role.AGENT], seconds=seconds) for seconds in (60, 61))
    prints = {desk.callers.authenticate(Presented(token)).thumbprint for token in (first, second, first)}
    assert len(prints) == 2
    assert all(len(text) == 64 for text in prints)


@pytest.mark.parametrize("what", ["certificate", "token", "id"])
def test_what_is_withdrawn_is_refused_within_a_second(desk: Desk, what: str) -> None:
    presented = {
        "certificate": Presented(certificate=desk.agent.pem),
        "token": Presented(desk.issuer.mint(AGENT, [Role.AGENT])),
        "id": Presented(desk.issuer.mint(AGENT, [Role.AGENT])),
    }[what]
    principal = desk.callers.authenticate(presented)
    desk.identities.write_text(f"withdrawn: [{principal.id if what == 'id' else principal.thumbprint}]\n")
    desk.clock.advance(1)
    with pytest.raises(UnauthenticatedError, match="withdrawn"):
        desk.callers.authenticate(presented)
