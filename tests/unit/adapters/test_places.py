"""What a log's schema, roles and lock are called: never as another tenant's, and never in need of quotes."""

from __future__ import annotations

import re

import pytest
from aisecops_server.adapters.postgres.place import Place, role_in
from aisecops_server.adapters.postgres.server import migrations
from aisecops_server.domain.tenants.tenant import is_tenant_name
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True).filter(is_tenant_name)
# What would be the name of something else, if only one kind of name were told apart.
LIKE = st.sampled_from(["writer", "reader", "tenant", "tenant-shop", "shop", "shop-writer", "writer-shop", "reader-x"])


def names(place: Place) -> set[str]:
    login = {place.login} if place.tenant else set()
    return {place.schema, place.writer, place.reader} | login


@given(one=NAMES | LIKE, other=NAMES | LIKE | st.just(""))
def test_no_two_logs_have_a_name_or_a_lock_in_common(one: str, other: str) -> None:
    here, there = Place("", one), Place("", other)
    if one == other:
        assert (names(here), here.lock) == (names(there), there.lock)
        return
    assert not names(here) & names(there)
    assert here.lock != there.lock


@given(name=NAMES)
def test_every_name_is_a_plain_word_that_the_server_does_not_cut_off(name: str) -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,62}", word) for word in names(Place("", name)))


@pytest.mark.parametrize("name", ["default", "Shop", "shop; DROP SCHEMA x", "shop'", "../shop", "a_b"])
def test_what_names_no_tenant_has_no_place(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a tenant"):
        Place("", name)


def test_migrations_fit_a_tenant_and_name_nothing_of_the_log_without() -> None:
    script = "\n".join(step.script for step in migrations())
    assert Place("").fitted(script) == script
    fitted = Place("", "shop").fitted(script)
    assert set(re.findall(r"\baisecops\w*", fitted)) <= names(Place("", "shop"))
    assert "aisecops.as_json" in script
    assert "aisecops_tenant_shop.as_json" in fitted


@pytest.mark.parametrize(
    ("url", "role"),
    [
        ("postgresql://host/d", ""),
        ("postgresql:///d?host=/run", ""),
        ("postgresql://ada@host/d", "ada"),
        ("postgresql://ada%40corp@h1,h2:5433/d", "ada@corp"),
        ("postgresql://host/d?user=ada", "ada"),
    ],
)
def test_the_role_of_an_address_is_found_wherever_it_stands(url: str, role: str) -> None:
    assert role_in(url) == role
