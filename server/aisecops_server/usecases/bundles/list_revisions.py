"""What revisions there are, and what one of them carries, down to its files. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.bundles.bundle import Commit, CommitId, Revision, RevisionState, RuleDoc
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError, UnknownRevisionError
from aisecops_server.ports import BundleBuilder, PolicyRepository
from aisecops_server.usecases.bundles.live_policy import LivePolicy, bundle_of


@dataclass(frozen=True, slots=True)
class RevisionPage:
    """Revisions newest first; ``next_token`` is empty on the last page."""

    revisions: tuple[Revision, ...]
    next_token: str


@dataclass(frozen=True, slots=True)
class _Judgement:
    builder: BundleBuilder
    live: LivePolicy

    async def __call__(self, commit: Commit) -> Revision:
        for served, state in ((self.live.live, RevisionState.LIVE), (self.live.previous, RevisionState.PREVIOUS)):
            if served is not None and served.commit.id == commit.id:
                return Revision(commit, state, served.engine.bundle.digest, problem="")
        bundle = await self.builder.stored(commit.id)
        rejection = self.live.rejection(commit.id)
        state = RevisionState.REJECTED if rejection else RevisionState.AVAILABLE
        return Revision(commit, state, bundle.digest if bundle else "", rejection.message if rejection else "")


@dataclass(frozen=True, slots=True)
class ListRevisions:
    """Lists commits of the followed branch."""

    repository: PolicyRepository
    builder: BundleBuilder
    live: LivePolicy

    async def __call__(self, *, page_size: int, page_token: str) -> RevisionPage:
        """Return a page of revisions, newest first.

        Raises:
            InvalidRequestError: the page token is not one of this list.
            UnknownRevisionError: nothing was read from the repository yet.
        """
        try:
            commits = await self.repository.commits(after=page_token, limit=page_size + 1)
        except UnknownRevisionError as error:
            if page_token:
                raise InvalidRequestError("the page token is not one of this list", field="page_token") from error
            raise
        judge = _Judgement(self.builder, self.live)
        revisions = [await judge(commit) for commit in commits[:page_size]]
        return RevisionPage(tuple(revisions), commits[page_size - 1].id if len(commits) > page_size else "")


@dataclass(frozen=True, slots=True)
class ShowRevision:
    """Shows one revision and its rules, building it if it was not built yet."""

    repository: PolicyRepository
    builder: BundleBuilder
    live: LivePolicy

    async def __call__(self, name: str) -> tuple[Revision, tuple[RuleDoc, ...]]:
        """Return the revision that ``name`` names, with its rules.

        Raises:
            UnknownRevisionError: nothing has that name.
            BundleRejectedError: it cannot be built.
        """
        commit_id = await self.repository.resolve(name)
        bundle = await bundle_of(commit_id, self.repository, self.builder)
        commit = await self.repository.commit(commit_id)
        return await _Judgement(self.builder, self.live)(commit), bundle.rules


@dataclass(frozen=True, slots=True)
class ReadPolicyFile:
    """Reads one file of the policy, as it stands in a revision."""

    repository: PolicyRepository

    async def __call__(self, name: str, path: str) -> tuple[CommitId, bytes]:
        """Return the commit that ``name`` names and the content of its file at ``path``.

        Raises:
            UnknownRevisionError: nothing has that name.
            NotFoundError: the policy of that commit has no such file.
        """
        commit_id = await self.repository.resolve(name)
        tree = await self.repository.tree(commit_id)
        if path not in tree.files:
            raise NotFoundError(
                f"the policy of {commit_id[:8]} has no such file", hint="Paths are those of the repository", path=path
            )
        return commit_id, tree.files[path]
