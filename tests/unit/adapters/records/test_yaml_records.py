"""YAML is read for its scalars only, record by record, and not at all where it could mean something else."""

from __future__ import annotations

import pytest
from aisecops_server.adapters.records.yaml_records import yaml_scalars
from hypothesis import given
from hypothesis import strategies as st


def read(text):
    found = yaml_scalars(text)
    return None if found is None else [(scalar.record, scalar.text) for scalar in found]


def test_the_items_of_a_list_are_its_records():
    assert read("- id: 1\n  to: [a, b]\n- id: 2\n- plain\n- last\n") == [
        (0, "id"),
        (0, "1"),
        (0, "to"),
        (0, "a"),
        (0, "b"),
        (1, "id"),
        (1, "2"),
        (2, "plain"),
        (3, "last"),
    ]


def test_a_mapping_is_one_record():
    assert read("a: 1\nb:\n  - x\n  - y\n") == [(0, "a"), (0, "1"), (0, "b"), (0, "x"), (0, "y")]


@pytest.mark.parametrize(
    "text",
    [
        "only a sentence",
        "a: &x 1\nb: *x\n",
        "a: !!str 1\n",
        "a: 1\n---\nb: 2\n",
        "a: [1\n",
        "a: \x00",
        "[" * 100 + "]" * 100,
        "Rooms: One\nTwo\nThree\n",
    ],
)
def test_what_could_mean_something_else_is_no_record(text):
    assert read(text) is None


def test_prose_that_a_writer_folded_stays_one_value():
    sentence = "note: Weekly meeting of the whole team in which we discuss what went well and what\n  did not\n"
    assert read(sentence)[1][1].endswith("did not")


@given(st.text(max_size=200))
def test_no_text_is_too_strange(text):
    assert yaml_scalars(text) is None or all(scalar.record >= 0 for scalar in yaml_scalars(text))
