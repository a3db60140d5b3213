"""Printed Python values are read as records and never evaluated."""

from __future__ import annotations

import pytest
from aisecops_server.adapters.records.python_records import python_scalars
from hypothesis import given
from hypothesis import strategies as st


def test_a_printed_value_is_read_record_by_record():
    found = python_scalars("""[{'name': "O'Neil", 'tags': ('a', 1)}, {'note': 'it\\'s', 'none': None, 'yes': True}]""")
    assert [(scalar.record, scalar.text) for scalar in found] == [
        (0, "name"),
        (0, "O'Neil"),
        (0, "tags"),
        (0, "a"),
        (0, "1"),
        (1, "note"),
        (1, "it's"),
        (1, "none"),
        (1, "yes"),
    ]


def test_a_repeated_key_hides_nothing():
    assert [scalar.text for scalar in python_scalars("{'to': 'evil', 'to': 'good'}")] == ["to", "evil", "to", "good"]


@pytest.mark.parametrize(
    "text",
    [
        "plain words",
        "{'a': open('/etc/passwd')}",
        "[x for x in y]",
        "{**a}",
        "[" * 5_000 + "]" * 5_000,
        "(" * 150 + "1" + ")" * 150 + "!",
        "[" + "-" * 20_000 + "1]",
        "[" + "1+" * 20_000 + "1]",
        "[" + "a." * 20_000 + "a]",
        "[a" + "()" * 20_000 + "]",
        "[a" + "[0]" * 20_000 + "]",
        "[" + "not " * 15_000 + "1]",
        "[" + "lambda:" * 8_000 + "1]",
        "[" + "1 if 1 else " * 5_000 + "1]",
        "[" + "1**" * 20_000 + "1]",
        "{'a': 'b'",
        "['" + "a" * 70_000 + "']",
    ],
)
def test_what_is_no_literal_is_no_record(text):
    assert python_scalars(text) is None


@given(st.recursive(st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=4), max_leaves=9))
def test_what_python_prints_is_read(value):
    leaves = []

    def collect(item):
        if isinstance(item, list):
            for part in item:
                collect(part)
        elif not isinstance(item, bool):
            leaves.append(str(item))

    held = [value]
    collect(held)
    assert [scalar.text for scalar in python_scalars(repr(held))] == leaves
