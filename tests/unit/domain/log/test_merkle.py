"""The tree against the vectors published for Certificate Transparency and a plain reading of RFC 6962."""

from __future__ import annotations

import hashlib

import pytest
from aisecops_server.domain.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    complete_root,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root_of,
)
from hypothesis import given
from hypothesis import strategies as st

# The eight leaves and the roots of their prefixes that Certificate Transparency implementations test with.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
}
CT_CONSISTENCY = {
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
HASHES = [leaf_hash(leaf) for leaf in CT_LEAVES]
BODIES = st.lists(st.binary(max_size=40), max_size=70)


def plain_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, read literally."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + plain_root(leaves[:split]) + plain_root(leaves[split:])).digest()


def test_roots_match_the_published_vectors() -> None:
    assert [root_of(HASHES[:size]).hex() for size in range(1, 9)] == CT_ROOTS
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("index", "size"), CT_INCLUSION)
def test_inclusion_proofs_match_the_published_vectors(index: int, size: int) -> None:
    assert tuple(step.hex() for step in inclusion_proof(HASHES[:size], index)) == CT_INCLUSION[index, size]


@pytest.mark.parametrize(("old", "new"), CT_CONSISTENCY)
def test_consistency_proofs_match_the_published_vectors(old: int, new: int) -> None:
    assert tuple(step.hex() for step in consistency_proof(HASHES[:new], old)) == CT_CONSISTENCY[old, new]


@given(BODIES)
def test_the_frontier_gives_the_root_of_the_definition(bodies: list[bytes]) -> None:
    leaves = [leaf_hash(body) for body in bodies]
    assert root_of(leaves) == plain_root(leaves)


@given(BODIES, BODIES)
def test_a_frontier_continues_from_its_stored_peaks(first: list[bytes], second: list[bytes]) -> None:
    frontier = Frontier()
    for body in first:
        frontier.append(leaf_hash(body))
    resumed = Frontier(frontier.size, frontier.peaks)
    for body in second:
        resumed.append(leaf_hash(body))
    assert resumed.size == len(first) + len(second)
    assert resumed.root() == plain_root([leaf_hash(body) for body in first + second])
    assert frontier.size == len(first)


def test_append_returns_the_roots_of_the_subtrees_it_completes() -> None:
    frontier = Frontier()
    completed = [frontier.append(leaf) for leaf in HASHES]
    assert [len(roots) for roots in completed] == [1, 2, 1, 3, 1, 2, 1, 4]
    assert completed[7][3] == complete_root(HASHES) == root_of(HASHES)
    assert completed[5][1] == node_hash(HASHES[4], HASHES[5])


@pytest.mark.parametrize("count", [0, 3, 6])
def test_a_complete_subtree_needs_a_power_of_two(count: int) -> None:
    with pytest.raises(ValueError, match="complete subtree"):
        complete_root(HASHES[:count])


@pytest.mark.parametrize(("size", "peaks"), [(-1, ()), (1, ()), (2, (b"x" * 32, b"y" * 32)), (1, (b"short",))])
def test_peaks_that_do_not_fit_the_size_are_refused(size: int, peaks: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="do not make a tree"):
        Frontier(size, peaks)


@given(st.integers(1, 70), st.data())
def test_every_leaf_is_provably_included_and_no_other_is(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    root, proof = root_of(leaves), inclusion_proof(leaves, index)
    assert is_included(leaves[index], index, size=size, root=root, proof=proof)
    assert not is_included(leaf_hash(b"forged"), index, size=size, root=root, proof=proof)
    assert not is_included(leaves[index], index, size=size, root=leaf_hash(b"forged"), proof=proof)
    assert not is_included(leaves[index], index, size=size, root=root, proof=[*proof, root])
    assert not is_included(leaves[index], size, size=size, root=root, proof=proof)
    for dropped in range(len(proof)):
        shorter = proof[:dropped] + proof[dropped + 1 :]
        assert not is_included(leaves[index], index, size=size, root=root, proof=shorter)
    elsewhere = data.draw(st.integers(0, size - 1))
    assert is_included(leaves[index], elsewhere, size=size, root=root, proof=proof) == (elsewhere == index)


@given(st.integers(1, 70), st.data())
def test_every_prefix_is_provably_consistent_and_no_fork_is(new: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(new)]
    old = data.draw(st.integers(1, new))
    old_root, new_root, proof = root_of(leaves[:old]), root_of(leaves), consistency_proof(leaves, old)
    assert is_consistent(old_size=old, old_root=old_root, new_size=new, new_root=new_root, proof=proof)
    fork = root_of([leaf_hash(b"forged"), *leaves[1:old]])
    assert not is_consistent(old_size=old, old_root=fork, new_size=new, new_root=new_root, proof=proof)
    assert not is_consistent(old_size=old, old_root=old_root, new_size=new, new_root=fork, proof=proof)
    assert not is_consistent(old_size=old, old_root=old_root, new_size=new, new_root=new_root, proof=[*proof, fork])
    assert not is_consistent(old_size=0, old_root=old_root, new_size=new, new_root=new_root, proof=proof)


def test_a_proof_about_a_leaf_or_size_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no leaf 8"):
        inclusion_proof(HASHES, 8)
    with pytest.raises(ValueError, match="had no size 9"):
        consistency_proof(HASHES, 9)
