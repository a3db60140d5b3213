"""What changed in the policy between two revisions. Reads the repository and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.domain.bundle import CommitId
from aisecops_server.domain.errors import UnknownRevisionError
from aisecops_server.domain.policy_diff import policy_diff
from aisecops_server.ports import PolicyRepository


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
