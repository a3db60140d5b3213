"""What the tables' YAML means, and what it may not be."""

from __future__ import annotations

import json

import pytest
import yaml
from aisecops_server.adapters.bundles.yaml_tables import MAX_ALIASES, MAX_VALUES, parse_yaml
from aisecops_server.domain.errors import BundleRejectedError
from hypothesis import given
from hypothesis import strategies as st

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
    | st.text(
        alphabet=st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff")
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefgh", min_size=1), inner, max_size=4),
    max_leaves=20,
)


def parse(text: str) -> object:
    return parse_yaml("data/t.yaml", text.encode())


def refused(text: str | bytes) -> str:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(BundleRejectedError) as error:
        parse_yaml("data/t.yaml", content)
    assert error.value.message.startswith("data/t.yaml")
    return error.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("0", 0),
        ("0123", "0123"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-31", "2024-01-31"),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        ("1.0e3", "1.0e3"),
        ("1.0e+3", 1000.0),
        ("1.2.3", "1.2.3"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("infinity", "infinity"),
        ("'true'", "true"),
        ('"12"', "12"),
        ("=", "="),
        ("-", [None]),
    ],
)
def test_a_plain_scalar_means_the_same_to_every_reader(text, value):
    read = parse(f"a: {text}" if text != "-" else "a:\n- ")
    assert read == {"a": value}
    assert type(read["a"]) is type(value)


@given(JSON_VALUES)
def test_json_is_read_as_the_value_that_json_says(value):
    if value is None:
        return
    assert parse(json.dumps(value, ensure_ascii=False)) == value


@given(JSON_VALUES)
def test_what_a_yaml_writer_writes_is_read_back(value):
    assert parse(yaml.safe_dump({"v": value}, allow_unicode=True)) == {"v": value}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_the_file_named(content):
    message = "data/t.yaml"
    try:
        parse_yaml("data/t.yaml", content)
    except BundleRejectedError as error:
        message = error.message
    assert message.startswith("data/t.yaml")


def test_a_billion_laughs_are_refused_before_anything_is_expanded():
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert f"expands to more than {MAX_VALUES:,} values" in refused("\n".join(lines))


def test_a_few_aliases_that_double_again_and_again_are_refused():
    lines = ["a0: &a0 [x, y]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 28))]
    assert "expands to more than" in refused("\n".join(lines))


def test_many_flat_aliases_are_refused():
    assert f"more than {MAX_ALIASES} aliases" in refused("a: &a x\nb:\n" + "- *a\n" * (MAX_ALIASES + 1))


def test_an_alias_that_contains_itself_is_refused():
    assert "stands whole before it" in refused("a: &a [*a]")


def test_an_honest_alias_is_the_value_it_names():
    assert parse("a: &d {x: 1}\nb: *d\n") == {"a": {"x": 1}, "b": {"x": 1}}


def test_nesting_without_end_is_refused():
    assert "nest" in refused("[" * 1_000_000)
    assert "nest" in refused("- " * 500_000)
    assert "nest" in refused("{a: " * 200_000)
    assert "deeper than" in refused("[" * 40 + "]" * 40)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [touch x]",
        "a: !!python/name:os.system",
        "a: !!binary aGk=",
        "a: !!set {x}",
        "a: !!timestamp 2024-01-01",
        "a: !custom x",
        "!!omap [a: 1]",
        "a: !!bool maybe",
        "a: !!int 0x10",
    ],
)
def test_tags_are_refused(text):
    assert "tag" in refused(text)


def test_a_key_that_stands_twice_is_refused_with_its_line():
    assert refused("a: 1\nb: 2\na: 3\n") == "data/t.yaml:3: the key 'a' stands twice"
    assert "stands twice" in refused("x: {a: 1, 'a': 2}")


@pytest.mark.parametrize("key", ["1", "true", "null", "~", "[a]", "{a: b}", "1.5"])
def test_a_key_that_is_no_string_is_refused(key):
    assert "a key is not a string" in refused(f"? {key}\n: x\n")


def test_merge_keys_are_refused():
    assert "merge keys" in refused("a: &a {x: 1}\nb: {<<: *a}\n")


@pytest.mark.parametrize(
    "number", ["9007199254740993", "-9007199254740993", "1.0e+999", "123456789012345678901234567890"]
)
def test_a_number_that_readers_disagree_on_is_refused(number):
    assert "every reader" in refused(f"a: {number}")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"# only talk\n", "empty"),
        (b"a: \xff", "not UTF-8"),
        ("a: 1".encode("utf-16"), "not UTF-8"),
        (b"a: 1\n---\nb: 2\n", "document"),
        (b"a: [1, 2\n", "data/t.yaml:2"),
        (b"a: \x00", "characters"),
        (b"\ta: 1", "data/t.yaml:1"),
    ],
)
def test_what_is_not_one_yaml_document_is_refused(content, why):
    assert why in refused(content)
