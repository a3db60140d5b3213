"""The identities file: who holds which role, and who is refused from now on."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.adapters.identity.identities import Identities, open_identities
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.errors import InvalidRequestError

from tests.fakes.clock import FakeClock

ADA = "spiffe://corp.example/person/ada"


class Desk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()

    def opened(self, content: str) -> Identities:
        self.path.write_text(content)
        return open_identities(self.path, read_yaml=parse_yaml, clock=self.clock)

    def changed(self, identities: Identities, content: str | None) -> bool:
        if content is None:
            self.path.unlink()
        else:
            self.path.write_text(content)
        self.clock.advance(1)
        return identities.refresh()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "identities.yaml")


def test_without_a_file_nobody_has_a_role_by_certificate_and_claims_are_role_names(desk: Desk) -> None:
    identities = open_identities(None, read_yaml=parse_yaml, clock=desk.clock)
    assert identities.of_person(ADA) == frozenset()
    assert identities.of_claim(["security"]) == {Role.SECURITY}
    with pytest.raises(ValueError):
        identities.of_claim(["security", "root"])


def test_claims_of_an_identity_provider_stand_for_what_the_file_says_and_others_for_nothing(desk: Desk) -> None:
    identities = desk.opened("claims:\n  aisecops-desk: [secops, auditor]\n")
    assert identities.of_claim(["aisecops-desk", "everybody"]) == {Role.SECOPS, Role.AUDITOR}
    # Whoever names groups elsewhere must not be able to name one 'security' and have the role.
    assert identities.of_claim(["security"]) == frozenset()


def test_a_role_that_is_taken_away_is_gone_within_a_second(desk: Desk) -> None:
    identities = desk.opened(f"people:\n  {ADA}: [security]\n")
    assert identities.of_person(ADA) == {Role.SECURITY}
    assert desk.changed(identities, "people: {}\n")
    assert identities.of_person(ADA) == frozenset()


def test_an_id_and_a_thumbprint_can_be_withdrawn(desk: Desk) -> None:
    ada = Principal(PrincipalId(ADA), "certificate", frozenset(), "f" * 64)
    bob = Principal(PrincipalId("bob"), "token", frozenset(), "a" * 64)
    identities = desk.opened(f"withdrawn: [{ADA}, {'a' * 64}]\n")
    assert identities.is_withdrawn(ada)
    assert identities.is_withdrawn(bob)
    assert not identities.is_withdrawn(Principal(PrincipalId("bob"), "token", frozenset(), "b" * 64))


def test_a_thumbprint_counts_as_other_programs_write_it(desk: Desk) -> None:
    ada = Principal(PrincipalId(ADA), "certificate", frozenset(), "ab" * 32)
    assert desk.opened(f"withdrawn: ['{':'.join(['AB'] * 32)}']\n").is_withdrawn(ada)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "people: [ada]",
        "people: {ada: [security]}",
        f"people: {{{ADA}: [root]}}",
        f"people: {{{ADA}: []}}",
        f"people: {{{ADA}: [agent]}}",
        "people: {'spiffe://*/person/ada': [security]}",
        "groups: {a: [security]}",
        f"people:\n  {ADA}: [security]\n  {ADA}: [platform]\n",
        "withdrawn: everybody",
        "{",
    ],
)
def test_a_file_that_says_something_else_stops_the_start_and_changes_nothing_later(desk: Desk, content: str) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be used"):
        desk.opened(content)
    identities = desk.opened(f"people:\n  {ADA}: [security]\nwithdrawn: [bob]\n")
    assert not desk.changed(identities, content)
    assert identities.of_person(ADA) == {Role.SECURITY}
    assert identities.is_withdrawn(Principal(PrincipalId("bob"), "token", frozenset()))


def test_a_file_that_vanishes_lets_nobody_in_again(desk: Desk) -> None:
    identities = desk.opened("withdrawn: [bob]\n")
    assert not desk.changed(identities, None)
    assert identities.is_withdrawn(Principal(PrincipalId("bob"), "token", frozenset()))


def test_a_file_without_end_is_not_read(desk: Desk) -> None:
    with pytest.raises(InvalidRequestError, match="larger than"):
        desk.opened("withdrawn: [" + "a, " * 400_000 + "]")
