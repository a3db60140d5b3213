"""The enforcement point, the tool server and the control plane take one and the same digest of the same arguments."""

from __future__ import annotations

import json
import math

import pytest
import rfc8785
from aisecops_grant.arguments import arguments_sha256, canonical, canonical_arguments
from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, canonical_bytes, digest
from aisecops_server.domain.formats.strict_json import parse_object
from hypothesis import example, given, settings
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none() | st.booleans() | st.integers(-SAFE_INTEGER, SAFE_INTEGER) | st.floats(-(2.0**53) + 1, 2.0**53 - 1) | TEXT
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
ARGUMENTS = st.dictionaries(TEXT, VALUES, max_size=6)


@settings(max_examples=300, deadline=None)
@given(ARGUMENTS)
@example({"\U0001f600": 1, "\ufb33": 2, "é": 3, "a": -0.0})
@example({"n": [1e-7, 1e-6, 5e-324, 0.1, 123.456, 1.5e15, 9007199254740991, 1e-4, 123456.789e-9]})
@example({"t": '\u0000\u001f\u007f\u2028"\\/\b\f\n\r\t'})
def test_all_writers_agree(arguments: dict[str, object]) -> None:
    ours = canonical_arguments(arguments)
    assert ours == rfc8785.dumps(arguments)
    assert ours == canonical_bytes(arguments)
    assert arguments_sha256(arguments) == digest(canonical_bytes(arguments))


@settings(max_examples=150, deadline=None)
@given(ARGUMENTS)
def test_what_is_sent_is_read_as_what_was_digested(arguments: dict[str, object]) -> None:
    """The control plane digests what it parsed of the bytes; the enforcement point digests what it will execute."""
    sent = json.dumps(arguments, ensure_ascii=False).encode()
    try:
        read = parse_object(sent, field="arguments")
    except InvalidPlanError:
        return
    assert canonical_bytes(read) == canonical_arguments(arguments)
    assert canonical_arguments(json.loads(canonical_arguments(arguments))) == canonical_arguments(arguments)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (math.nan, ValueError),
        (math.inf, ValueError),
        (2**53, ValueError),
        (-(2**53), ValueError),
        (1e300, ValueError),
        ("\ud800", ValueError),
        ({"\ud800": 1}, ValueError),
        (b"bytes", TypeError),
        ({1: 2}, TypeError),
        ({1, 2}, TypeError),
        (object(), TypeError),
    ],
)
def test_what_has_no_exact_form_is_refused(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        canonical_arguments({"a": value})


def test_arguments_are_a_mapping_and_not_nested_without_end() -> None:
    with pytest.raises(TypeError):
        canonical_arguments([1])
    deep: object = 1
    for _ in range(31):
        deep = [deep]
    assert canonical_arguments({"a": deep})
    with pytest.raises(ValueError, match="deeper"):
        canonical_arguments({"a": [deep]})
    assert parse_object(json.dumps({"a": deep}).encode(), field="a")
    with pytest.raises(InvalidPlanError):
        parse_object(json.dumps({"a": [deep]}).encode(), field="a")


def test_tuples_are_lists_and_subclasses_are_what_they_are() -> None:
    assert canonical({"a": (1, 2)}) == b'{"a":[1,2]}'
    assert canonical(True) == b"true"
