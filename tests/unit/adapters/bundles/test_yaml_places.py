from __future__ import annotations

from aisecops_server.adapters.bundles.yaml_places import leaves
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml


def places(text: str) -> dict[str, tuple[object, int]]:
    content = text.encode()
    return {"/".join(path): (value, line) for path, value, line in leaves(content, parse_yaml("t.yaml", content))}


def test_each_value_stands_on_the_line_of_its_key():
    found = places("# about\na: 1\n\nb:\n  c: {d: 2, e: [1, 2]}\n  f:\n    g.h: x\n")
    assert found == {"a": (1, 2), "b/c/d": (2, 5), "b/c/e": ([1, 2], 5), "b/f/g.h": ("x", 7)}


def test_lists_are_one_value_whatever_they_hold():
    assert places("a:\n  - {b: 1}\n  - [c, {d: 2}]\nz: 1\n") == {"a": ([{"b": 1}, ["c", {"d": 2}]], 1), "z": (1, 4)}


def test_what_an_alias_repeats_stands_where_the_alias_does():
    found = places("a: &x {b: 1}\nc:\n  d: *x\n")
    assert found == {"a/b": (1, 1), "c/d/b": (1, 3)}


def test_an_empty_mapping_is_a_value_of_its_own():
    assert places("a: {}\nb: null\n") == {"a": ({}, 1), "b": (None, 2)}


def test_json_is_read_as_well():
    assert places('{\n "a": {"b": 1},\n "c": 2\n}\n') == {"a/b": (1, 2), "c": (2, 3)}
