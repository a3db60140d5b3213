"""Nodes of the log's tree, read from the leaves and subtrees that it keeps; what is complete is remembered.

Nothing is remembered below the height of a stored subtree: a block of leaves is read at once and its nodes are made
from it. Above, a node is made of its two halves the first time and kept: complete nodes never change.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw

from aisecops_server.adapters.sqlite.schema import SUBTREE_HEIGHT, SUBTREE_LEAVES
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.log.merkle import complete_root, node_hash

_LEAVES = "SELECT leaf_hash FROM event WHERE idx >= ? AND idx < ? ORDER BY idx"
_SUBTREE = "SELECT hash FROM subtree WHERE number = ?"


@dataclass(slots=True)
class NodeMemory:
    """Nodes above the stored subtrees, by height and number. A million leaves make some four thousand of them."""

    known: dict[tuple[int, int], bytes] = field(default_factory=dict)


@dataclass(slots=True)
class NodeReader:
    """Reads nodes through one connection, on one snapshot."""

    connection: apsw.Connection
    memory: NodeMemory
    _block: tuple[int, list[bytes]] = (-1, [])

    def __call__(self, height: int, number: int) -> bytes:
        """Return the root of the complete subtree ``number`` of that height.

        Raises:
            IntegrityError: the log does not hold what it is made of.
        """
        if height < SUBTREE_HEIGHT:
            return self._below(height, number)
        known = self.memory.known.get((height, number))
        if known is None:
            known = self._stored(number) if height == SUBTREE_HEIGHT else self._joined(height, number)
            self.memory.known[height, number] = known
        return known

    def _below(self, height: int, number: int) -> bytes:
        start = number << height
        block, offset = divmod(start, SUBTREE_LEAVES)
        if self._block[0] != block:
            first = block * SUBTREE_LEAVES
            rows: list[Row] = self.connection.execute(_LEAVES, (first, first + SUBTREE_LEAVES)).fetchall()
            self._block = (block, [row[0] for row in rows])
        leaves = self._block[1][offset : offset + (1 << height)]
        if len(leaves) != 1 << height:
            raise IntegrityError(f"event {start} or one after it is missing", index=str(start))
        return complete_root(leaves)

    def _stored(self, number: int) -> bytes:
        found = self.connection.execute(_SUBTREE, (number,)).get
        if not isinstance(found, bytes):
            raise IntegrityError(f"subtree {number} is missing", index=str(number * SUBTREE_LEAVES))
        return found

    def _joined(self, height: int, number: int) -> bytes:
        return node_hash(self(height - 1, 2 * number), self(height - 1, 2 * number + 1))
