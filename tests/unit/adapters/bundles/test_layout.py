"""What is remembered of tables is given for the very same bytes at the same path, and for nothing else."""

from __future__ import annotations

import pytest
from aisecops_server.adapters.bundles.layout import TableReader
from aisecops_server.domain.errors import BundleRejectedError

PATH, OTHER = "data/agents.yaml", "data/tools.yaml"


def test_the_same_bytes_at_a_path_are_read_once() -> None:
    read = TableReader()
    first = read(PATH, b"a: {b: 1}\n")
    assert first == {"a": {"b": 1}}
    assert read(PATH, b"a: {b: 1}\n") is first


def test_other_bytes_are_read_anew_and_so_are_the_former_ones_after_them() -> None:
    read = TableReader()
    read(PATH, b"a: 1\n")
    assert read(PATH, b"a: 2\n") == {"a": 2}
    assert read(PATH, b"a: 1\n") == {"a": 1}


def test_the_same_bytes_at_another_path_are_another_table() -> None:
    read = TableReader()
    first = read(PATH, b"a: {}\n")
    assert read(OTHER, b"a: {}\n") is not first
    with pytest.raises(BundleRejectedError, match=OTHER):
        read(OTHER, b"a: 1\na: 2\n")


def test_what_cannot_be_read_takes_nothing_from_what_stood_there_and_leaves_nothing() -> None:
    read = TableReader()
    read(PATH, b"a: 1\n")
    for _ in range(2):
        with pytest.raises(BundleRejectedError, match="stands twice"):
            read(PATH, b"a: 1\na: 2\n")
    assert read(PATH, b"a: 1\n") == {"a": 1}


def test_what_is_no_longer_there_is_forgotten_and_large_tables_are_never_kept() -> None:
    read = TableReader()
    first, other = read(PATH, b"a: {}\n"), read(OTHER, b"a: {}\n")
    read.keep([OTHER])
    assert read(OTHER, b"a: {}\n") is other
    assert read(PATH, b"a: {}\n") is not first
    large = b"a: {}\n" + b"#" * 1024 * 1024
    assert read(PATH, large) is not read(PATH, large)
