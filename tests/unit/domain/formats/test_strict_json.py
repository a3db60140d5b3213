"""Strict JSON: what is read, what is refused, and where the refusal points."""

from __future__ import annotations

import json

import pytest
from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, canonical_bytes
from aisecops_server.domain.formats.limits import LIMITS
from aisecops_server.domain.formats.strict_json import parse, parse_object
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(-1e15, 1e15, allow_nan=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)


def refusal(data: bytes) -> InvalidPlanError:
    with pytest.raises(InvalidPlanError) as caught:
        parse(data, field="payload")
    assert caught.value.metadata()["field"] == "payload"
    return caught.value


@given(VALUES)
def test_what_json_writes_is_read_back(value: object) -> None:
    for ascii_only in (True, False):
        data = json.dumps(value, ensure_ascii=ascii_only).encode()
        assert parse(data, field="payload") == value


@given(VALUES)
def test_the_canonical_form_is_read_as_the_same_value(value: object) -> None:
    canonical = canonical_bytes(value)
    assert canonical_bytes(parse(canonical, field="payload")) == canonical


@given(st.binary(max_size=60))
def test_any_bytes_are_either_a_value_or_a_refusal(data: bytes) -> None:
    try:
        value = parse(data, field="payload")
    except InvalidPlanError:
        return
    assert canonical_bytes(parse(canonical_bytes(value), field="payload")) == canonical_bytes(value)


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (b'{"a":1,"a":1}', ""),
        (b'{"a":1,"\\u0061":2}', ""),
        (b'{"x":[0,{"b":{},"b":{}}]}', "/x/1"),
        (b'{"x":NaN}', "/x"),
        (b'{"x":[1,-Infinity]}', "/x/1"),
        (b'{"a/b":{"c~d":9007199254740992}}', "/a~1b/c~0d"),
        (b'{"x":-9007199254740992}', "/x"),
        (b'{"x":' + b"9" * 5000 + b"}", "/x"),
        (b'{"x":1e400}', "/x"),
        (b'{"x":1e16}', "/x"),
        (b'{"x":1e-400}', "/x"),
        (b'{"x":0.' + b"1" * 100 + b"}", "/x"),
        (b'{"x":["\\ud800"]}', "/x/0"),
        (b'{"x":"\\uDC00\\ud800"}', "/x"),
        (b'{"\\ud83d":1}', ""),
    ],
)
def test_a_value_on_which_readers_differ_is_refused_with_its_place(data: bytes, pointer: str) -> None:
    assert refusal(data).metadata()["pointer"] == pointer


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", "0"),
        (b"{} {}", "3"),
        (b'{"a":1,}', "7"),
        (b"[1,]", "3"),
        (b"{'a':1}", "1"),
        (b"01", "1"),
        (b"+1", "0"),
        (b".5", "0"),
        (b"1.", "1"),
        (b'"\n"', "1"),
        (b'"\\x41"', "1"),
        (b"tru", "0"),
        (b"\xef\xbb\xbf{}", "0"),
        (b'{"a":"\xed\xa0\x80"}', "6"),
        (b'{"a":"\xff"}', "6"),
        (b"{}\x00", "2"),
        (b"\xe2\x80\xa8{}", "0"),
        (b"/* c */{}", "0"),
    ],
)
def test_text_that_is_not_json_is_refused_with_its_offset(data: bytes, offset: str) -> None:
    assert refusal(data).metadata()["offset"] == offset


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b" 1.0 ", 1),
        (b"-0", 0),
        (b"-0.0", 0),
        (b"1e2", 100),
        (b"0e99999", 0),
        (b"0.1", 0.1),
        (b"9007199254740991", SAFE_INTEGER),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\u0000\\/"', "\0/"),
        (b'"\\\\ud800"', "\\ud800"),
    ],
)
def test_spellings_of_one_value_are_one_value(data: bytes, value: object) -> None:
    read = parse(data, field="payload")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'[{"a":', b"}]")])
def test_nesting_is_bounded_exactly(opening: bytes, closing: bytes) -> None:
    def nested(depth: int) -> bytes:
        times = depth // opening.count(b"[") // (1 + opening.count(b"{"))
        return opening * times + b"0" * opening.count(b"{") + closing * times

    assert parse(nested(LIMITS.depth), field="payload")
    for depth in (LIMITS.depth + 2, 5_000, 60_000):
        assert "nested deeper" in refusal(nested(depth)).message


def test_brackets_in_text_are_not_nesting() -> None:
    assert parse(b'["' + b"[{" * 100 + b'"]', field="payload") == ["[{" * 100]


def test_size_is_bounded() -> None:
    assert parse(b'"' + b"a" * 98 + b'"', field="payload", limit=100) == "a" * 98
    with pytest.raises(InvalidPlanError, match="at most 100"):
        parse(b'"' + b"a" * 99 + b'"', field="payload", limit=100)


def test_an_object_is_asked_for_by_name() -> None:
    assert parse_object(b'{"a":[]}', field="payload") == {"a": []}
    with pytest.raises(InvalidPlanError, match="must be a JSON object"):
        parse_object(b"[]", field="payload")
