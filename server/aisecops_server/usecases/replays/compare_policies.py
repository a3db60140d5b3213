"""What changed in the policy between two revisions, as text and as meaning. Reads policy and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree
from aisecops_server.domain.errors import BundleRejectedError, UnknownRevisionError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.policy.policy_diff import policy_diff
from aisecops_server.domain.policy.policy_meaning import Change, changes
from aisecops_server.domain.tables.compiled_tables import compile_tables
from aisecops_server.ports import PolicyRepository
from aisecops_server.ports.replay import PolicyReader

_REMEMBERED = 64
# Whoever may read policy may ask, so a comparison takes a second at most.
_MOST_LINES = 2_000


@dataclass(frozen=True, slots=True)
class ComparePolicies:
    """Compares two revisions of the policy repository."""

    repository: PolicyRepository

    async def __call__(self, before: str, after: str) -> Mapping[str, str]:
        """Return a unified diff for each policy file that differs, by path.

        ``after`` is the head of the followed branch when empty, ``before`` the commit below ``after``.

        Raises:
            RepositoryUnavailableError: the repository cannot be read.
            UnknownRevisionError: there is no such commit, branch or tag.
        """
        await self.repository.fetch()
        newer = await (self.repository.resolve(after) if after else self.repository.head())
        older = await (self.repository.resolve(before) if before else self._below(newer))
        return policy_diff(await self.repository.tree(older), await self.repository.tree(newer))

    async def _below(self, commit_id: CommitId) -> CommitId:
        below = await self.repository.commits(after=commit_id, limit=1)
        if not below:
            raise UnknownRevisionError(f"commit {commit_id} has no commit below it", hint="Name both revisions")
        return below[0].id


@dataclass(frozen=True, slots=True)
class CompareMeanings:
    """Compares what two policy trees mean, and remembers what it found."""

    reader: PolicyReader
    _found: dict[tuple[CommitId, CommitId], tuple[Change, ...]] = field(default_factory=dict)

    async def __call__(self, before: PolicyTree, after: PolicyTree) -> tuple[Change, ...]:
        """Return what differs in meaning; nothing when the two decide alike on every document.

        Raises:
            BundleRejectedError: one of them cannot be read as policy.
        """
        key = (before.commit, after.commit)
        if key not in self._found:
            found = await self._compare(before, after) if before.files != after.files else ()
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[key] = found
        return self._found[key]

    async def _compare(self, before: PolicyTree, after: PolicyTree) -> tuple[Change, ...]:
        old, new = await self.reader.read(before, against=after), await self.reader.read(after, against=before)
        if old.tables == new.tables:
            return changes(old, new, compiled=({}, {}))
        compiled = await asyncio.to_thread(_compiled, old.tables), await asyncio.to_thread(_compiled, new.tables)
        return changes(old, new, compiled=compiled)


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two commits: in meaning, or the ``problem`` why that is not told, and as text by path.

    The text of a file that is too long to be compared is empty.
    """

    before: CommitId
    after: CommitId
    meaning: tuple[Change, ...]
    problem: str
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TellDifference:
    """Tells what differs between two revisions that the repository has."""

    repository: PolicyRepository
    meanings: CompareMeanings

    async def __call__(self, before: str, after: str) -> Difference:
        """Return the difference of what two names stand for.

        Raises:
            UnknownRevisionError: one of them names nothing.
            BundleRejectedError: one of them holds what policy may not.
        """
        commits = await self.repository.resolve(before), await self.repository.resolve(after)
        trees = await self.repository.tree(commits[0]), await self.repository.tree(commits[1])
        meaning: tuple[Change, ...] = ()
        problem = ""
        try:
            meaning = await self.meanings(*trees)
        except BundleRejectedError as error:
            problem = error.message
        texts = await asyncio.to_thread(policy_diff, *trees, most_lines=_MOST_LINES)
        return Difference(*commits, meaning, problem, texts)


def _compiled(tables: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    return compile_tables(tables)
