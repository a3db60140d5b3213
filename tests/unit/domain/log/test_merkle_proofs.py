"""Proofs from nodes against the plain reading of RFC 6962 and against verification."""

import pytest
from aisecops_server.domain.log.merkle import (
    complete_root,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root_of,
)
from aisecops_server.domain.log.merkle_proofs import consistency_path, inclusion_path, root_at

LEAVES = [leaf_hash(str(number).encode()) for number in range(70)]


def node(height: int, number: int) -> bytes:
    width = 1 << height
    return complete_root(LEAVES[number * width : (number + 1) * width])


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_the_root_at_any_size_is_the_root_over_those_leaves(size: int) -> None:
    assert root_at(node, size) == root_of(LEAVES[:size])


@pytest.mark.parametrize("size", range(1, len(LEAVES) + 1))
def test_paths_are_those_of_the_plain_reading_and_verify(size: int) -> None:
    root = root_at(node, size)
    for index in range(size):
        path = inclusion_path(node, index=index, size=size)
        assert path == inclusion_proof(LEAVES[:size], index)
        assert is_included(LEAVES[index], index, size=size, root=root, proof=path)
    for old in range(1, size + 1):
        path = consistency_path(node, old_size=old, size=size)
        assert path == consistency_proof(LEAVES[:size], old)
        assert is_consistent(old_size=old, old_root=root_at(node, old), new_size=size, new_root=root, proof=path)


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_there_is_no_path_of_a_leaf_that_the_tree_does_not_have(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_path(node, index=index, size=size)


@pytest.mark.parametrize(("old", "size"), [(0, 4), (5, 4), (-1, 4)])
def test_there_is_no_proof_from_a_size_that_the_tree_never_had(old: int, size: int) -> None:
    with pytest.raises(ValueError, match="had no size"):
        consistency_path(node, old_size=old, size=size)
