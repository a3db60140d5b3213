"""The fast canonical form is the reference form, byte for byte."""

from __future__ import annotations

import pytest
import rfc8785
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, canonical_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = st.text('abcXYZ019_\n"\\\x00\x7f~/', max_size=5) | TEXTS
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple) | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(max_examples=500)
@given(VALUES)
def test_every_value_has_the_reference_form(value: object) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        SAFE_INTEGER + 1,
        [-SAFE_INTEGER - 1],
        {"a": float("nan")},
        [float("inf")],
        "\ud800",
        {"\udfff": 1},
        {"é": "\ud800"},
    ],
)
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_bytes(value)


def test_keys_are_ordered_by_utf_16_units() -> None:
    # U+FB33 sorts after a surrogate pair by code unit, and before it by code point.
    assert canonical_bytes({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@settings(max_examples=1000)
@given(st.floats(1e-7, 1e-3) | st.floats(0.001, 1e6) | st.floats(1e6, 1e17) | st.floats(-1e17, -1e-7))
def test_every_fraction_has_the_reference_form(number: float) -> None:
    assert canonical_bytes([number]) == rfc8785.dumps([number])
