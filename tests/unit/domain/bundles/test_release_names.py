"""Which release is the highest."""

from __future__ import annotations

import pytest
from aisecops_server.domain.bundles.release_names import highest
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("names", "pattern", "found"),
    [
        (["v1.9", "v1.10", "v1.2"], "v*", "v1.10"),
        (["v1.10-rc1", "v1.10", "v1.9"], "v*", "v1.10"),
        (["v1.10-rc2", "v1.10-rc10", "v1.9"], "v*", "v1.10-rc10"),
        (["release/2", "release/11", "main"], "release/*", "release/11"),
        (["prod-2026-11-26", "prod-2026-02-27"], "prod-*", "prod-2026-11-26"),
        (["v1", "v1.0", "v1.0.1"], "v*", "v1.0.1"),
        (["stable"], "stable", "stable"),
        (["other"], "v*", ""),
        ([], "v*", ""),
    ],
)
def test_names_are_compared_as_versions(names: list[str], pattern: str, found: str) -> None:
    assert highest(names, pattern) == highest(names[::-1], pattern) == found


@given(st.lists(st.text(max_size=12), max_size=8))
def test_any_names_can_be_compared_and_order_does_not_matter(names: list[str]) -> None:
    found = highest(names, "*")
    assert found == highest(sorted(names), "*")
    assert (found in names) or not names
