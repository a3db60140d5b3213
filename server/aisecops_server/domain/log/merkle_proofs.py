"""Proofs about a tree of any earlier size, made from stored nodes instead of from all leaves (RFC 6962, section 2.1).

A *node* is the root of a complete, aligned subtree: ``node(height, number)`` is the one over the leaves from
``number * 2**height`` on. Complete subtrees never change while the log grows, so whoever keeps or remembers nodes can
serve proofs for every size that the log ever had, each from a few nodes per level.
"""

from __future__ import annotations

from collections.abc import Callable

from aisecops_server.domain.log.merkle import EMPTY_ROOT, node_hash

Node = Callable[[int, int], bytes]


def root_at(node: Node, size: int) -> bytes:
    """Return the root that the tree had with ``size`` leaves."""
    return _range_root(node, 0, size) if size else EMPTY_ROOT


def inclusion_path(node: Node, *, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf ``index`` in the tree of ``size`` leaves, from the leaf's sibling upwards.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            path.append(_range_root(node, split, end))
            end = split
        else:
            path.append(_range_root(node, start, split))
            start = split
    return path[::-1]


def consistency_path(node: Node, *, old_size: int, size: int) -> list[bytes]:
    """Return the proof that the tree of ``old_size`` leaves is a prefix of that of ``size`` leaves.

    Raises:
        ValueError: the tree never had that size.
    """
    if not 0 < old_size <= size:
        raise ValueError(f"a tree of {size} leaves had no size {old_size} to be consistent with")
    path: list[bytes] = []
    start, end, is_whole = 0, size, True
    while old_size < end:
        split = start + _split(end - start)
        if old_size <= split:
            path.append(_range_root(node, split, end))
            end = split
        else:
            path.append(_range_root(node, start, split))
            start, is_whole = split, False
    if not is_whole:
        path.append(_range_root(node, start, end))
    return path[::-1]


def _range_root(node: Node, start: int, end: int) -> bytes:
    """Return the root over leaves ``start`` to ``end``, where ``start`` is aligned as RFC 6962 splits ranges."""
    count = end - start
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return node(height, start >> height)
    split = start + _split(count)
    return node_hash(_range_root(node, start, split), _range_root(node, split, end))


def _split(count: int) -> int:
    # The largest power of two below count.
    return 1 << (count - 1).bit_length() - 1
