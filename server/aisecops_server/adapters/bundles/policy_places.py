"""Where the keys of a revision's tables stand, by file and line."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aisecops_server.adapters.bundles.layout import table_files
from aisecops_server.adapters.bundles.yaml_places import key_lines
from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.ports import PolicyRepository

Places = Mapping[tuple[str, ...], str]


class TreePlaces:
    """Implements ``PolicyPlaces``. What was read last is remembered: a revision never changes."""

    def __init__(self, repository: PolicyRepository) -> None:
        self._repository = repository
        self._last: tuple[CommitId, Places] | None = None

    async def places(self, revision: CommitId) -> Places:
        """Return ``file:line`` of every key of every table."""
        if self._last is None or self._last[0] != revision:
            tree = await self._repository.tree(revision)
            self._last = (revision, await asyncio.to_thread(_places, tree))
        return self._last[1]


def _places(tree: PolicyTree) -> Places:
    return {
        (name, *path): f"{file}:{line}"
        for name, file in table_files(tree)
        for path, line in key_lines(tree.files[file]).items()
    }
