"""SPIFFE ids are read strictly, or not at all."""

from __future__ import annotations

import pytest
from aisecops_server.domain.callers.spiffe import SpiffeId, is_trust_domain, parse


@pytest.mark.parametrize(
    ("text", "domain", "path"),
    [
        ("spiffe://corp.example/agent/a", "corp.example", "/agent/a"),
        ("spiffe://corp-1_x.example/A.b_c-d", "corp-1_x.example", "/A.b_c-d"),
    ],
)
def test_an_id_has_a_trust_domain_and_a_path(text: str, domain: str, path: str) -> None:
    assert parse(text) == SpiffeId(domain, path)
    assert str(parse(text)) == text


@pytest.mark.parametrize("domain", ["", "*", "*.example", "Corp.example", "a:1", ".example", "-", "ä.example"])
def test_a_trust_domain_is_one_name(domain: str) -> None:
    assert not is_trust_domain(domain)
    assert parse(f"spiffe://{domain}/agent/a") is None
