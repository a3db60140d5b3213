"""The tenants file: what it may say, and what does not start because of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from aisecops_server.adapters.identity.certificates import CertificateRules
from aisecops_server.bootstrap.store import place_of
from aisecops_server.bootstrap.tenants import read_tenants
from aisecops_server.domain.callers.identity import DEFAULT_TENANT, Principal, PrincipalId, Role
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError, NotPermittedError
from aisecops_server.domain.tenants.tenant import MOST_TENANTS, tenant_for
from aisecops_server.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.sampled_from(["shop", "bank", "farm"])


def settings_of(root: Path, content: str, **others: object) -> Settings:
    file = root / "tenants.yaml"
    file.write_text(content)
    return Settings.model_validate({"state_dir": root / "s", "tenants_file": file, **others})


def two(one: str, other: str) -> str:
    """Return a file of two tenants with a caller each."""
    return f"a: {{repository: /p, callers: ['{one}']}}\nb: {{repository: /q, callers: ['{other}']}}"


def test_each_has_a_directory_and_a_policy_of_its_own_and_shares_what_all_have(tmp_path: Path) -> None:
    content = "shop: {repository: /p/shop, branch: live, channel: prod}\nbank: {repository: /p/bank}\n"
    settings = settings_of(tmp_path, content, branch="trunk", poll_seconds=7)
    tenants = read_tenants(settings)
    shop, bank = tenants.of("shop"), tenants.of("bank")
    assert (shop.repository, shop.branch, shop.channel, shop.tenant) == ("/p/shop", "live", "prod", "shop")
    assert (bank.repository, bank.branch, bank.channel, bank.tenant) == ("/p/bank", "trunk", "", "bank")
    assert {shop.poll_seconds, bank.poll_seconds} == {7}
    assert {shop.socket, bank.socket} == {settings.socket}
    for path in ("log_path", "engine_run_dir", "checkpoint_path", "recordings_path", "state_dir"):
        assert getattr(shop, path) != getattr(bank, path)
    with pytest.raises(InvalidRequestError, match="several tenants"):
        tenants.of("")
    with pytest.raises(InvalidRequestError, match="no tenant 'farm'"):
        tenants.of("farm")


def test_each_has_its_place_in_the_database_of_all_or_in_its_own(tmp_path: Path) -> None:
    content = "shop: {repository: /p}\nbank-eu: {repository: /q, database_url: 'postgresql://teller@other/d'}\n"
    settings = settings_of(tmp_path, content, database_url="postgresql://host/d")
    places = [place_of(own) for own in read_tenants(settings).settings.values()]
    assert [(place.url, place.schema, place.role) for place in places] == [
        ("postgresql://host/d", "aisecops_tenant_shop", "aisecops_tenant_shop"),
        ("postgresql://teller@other/d", "aisecops_tenant_bank_eu", ""),
    ]
    with pytest.raises(InvalidRequestError, match="a log of its own"):
        place_of(settings)


def test_without_a_file_there_is_one_and_no_other_can_be_named(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    tenants = read_tenants(settings)
    assert (list(tenants.settings), tenants.callers, tenants.of("")) == ([DEFAULT_TENANT], None, settings)
    with pytest.raises(InvalidRequestError, match="no tenants_file"):
        read_tenants(settings.model_copy(update={"tenant": "shop"}))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "the file is empty"),
        ("[shop]", "not a mapping"),
        ("default: {repository: /p}", "'default' cannot name a tenant"),
        ("../up: {repository: /p}", "cannot name a tenant"),
        ("Shop: {repository: /p}", "cannot name a tenant"),
        ("-x: {repository: /p}", "cannot name a tenant"),
        ("shop: {}", "repository"),
        ("shop: {repository: ''}", "repository"),
        ("shop: {repository: /p, state_dir: /elsewhere}", "state_dir"),
        ("shop: {repository: /p, tenant: bank}", "tenant"),
        ("shop: {repository: /p, follow: 'tag:../x'}", "follow"),
        ("shop: {repository: /p, database_url: 'postgresql://shop:secret@h/d'}", "passfile"),
        ("shop: {repository: /p, callers: [ann]}", "SPIFFE id"),
        ("shop: {repository: /p, callers: ['spiffe://']}", "SPIFFE id"),
        (two("spiffe://d/x", "spiffe://d/x"), "of a and of b"),
        (two("spiffe://d/x/", "spiffe://d/x/y"), "of a and of b"),
        (two("spiffe://d/x/y", "spiffe://d/x/"), "of a and of b"),
        ("".join(f"t{number}: {{repository: /p}}\n" for number in range(MOST_TENANTS + 1)), "more than"),
        ("shop: {repository: /p}\nshop: {repository: /q}", "shop"),
    ],
)
def test_a_file_that_could_be_read_in_two_ways_or_none_does_not_start(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why) as refused:
        read_tenants(settings_of(tmp_path, content))
    assert refused.value.metadata()["field"] == "tenants_file"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repository", "/p"),
        ("follow", "tag:v*"),
        ("channel", "prod"),
        ("trigger_secret_file", "/secret"),
        ("webhooks", "a https://x /s"),
        ("log_origin", "log.example"),
        ("database_url", "postgresql://role@host/db"),
        ("cluster", "127.0.0.1:8786"),
    ],
)
def test_what_several_tenants_cannot_share_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_tenants(settings_of(tmp_path, "shop: {repository: /p}", **{name: value}))
    assert refused.value.metadata()["field"] == name


def test_a_certificate_is_of_the_tenant_below_whose_place_its_id_stands() -> None:
    rules = CertificateRules("d", tenants={"spiffe://d/agent/shop/": "shop", "spiffe://d/person/ann": "bank"})
    held: Mapping[str, set[str]] = {
        "spiffe://d/agent/shop/mail": {"shop"},
        "spiffe://d/agent/shop": set(),
        "spiffe://d/agent/shopping/mail": set(),
        "spiffe://d/person/ann": {"bank"},
        "spiffe://d/person/anna": set(),
        "spiffe://d/person/ann/x": set(),
    }
    assert {name: rules.tenants_of(name) for name in held} == held
    assert CertificateRules("d").tenants_of("spiffe://d/person/ann") == {DEFAULT_TENANT}


@given(
    held=st.frozensets(NAMES, max_size=3),
    asked=NAMES | st.just("") | st.text(max_size=5),
    roles=st.frozensets(st.sampled_from(Role), min_size=1),
)
def test_nobody_ever_acts_for_a_tenant_that_the_credential_is_not_of(
    held: frozenset[str], asked: str, roles: frozenset[Role]
) -> None:
    principal = Principal(PrincipalId("x"), "token", roles, tenants=held)
    own = asked in held or (asked == "" and len(held) == 1)
    if own and (len(held) == 1 or Role.AGENT not in roles):
        assert tenant_for(principal, asked) == (asked or next(iter(held)))
        return
    with pytest.raises((NotFoundError, NotPermittedError, InvalidRequestError)) as refused:
        tenant_for(principal, asked)
    # Nothing but what the caller said or proved itself.
    assert not any(name in refused.value.diagnostics() for name in {"shop", "bank", "farm"} - held - {asked})
