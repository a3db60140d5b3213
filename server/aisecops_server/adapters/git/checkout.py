"""A working copy's own Git: which commit a name means there, what a commit holds, and where two lines part.

Reads objects and references, as the mirror does and with the same hardening; nothing is checked out, fetched or
written. Names are those of the checkout, so a branch of its remote counts too, which continuous integration needs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from aisecops_server.adapters.git.names import meant, peeled
from aisecops_server.adapters.git.objects import Trees, read_commits
from aisecops_server.adapters.git.runner import Bounds, HardenedGit
from aisecops_server.adapters.git.source import ancestor_name
from aisecops_server.domain.bundles.bundle import Commit, CommitId, PolicyTree
from aisecops_server.domain.errors import RepositoryUnavailableError, UnknownRevisionError

_SECONDS = 30.0
_COMMIT_CHARACTERS = 40


class Checkout:
    """One working copy."""

    def __init__(self, directory: Path) -> None:
        """Find the repository of ``directory``.

        Raises:
            RepositoryUnavailableError: it is not the root of a Git checkout.
        """
        self._git = HardenedGit(_repository(directory.absolute()), environment={})

    def commit_id(self, name: str) -> CommitId:
        """Return the commit that a name means in this checkout: a commit, a branch, a tag, a branch of a remote.

        Raises:
            UnknownRevisionError: nothing has that name, or several commits have it.
        """
        base, before = ancestor_name(name)
        branches = [f"refs/heads/{base}", f"refs/remotes/{base}", f"refs/remotes/origin/{base}"]
        places = [] if base == "HEAD" else [branches, [f"refs/tags/{base}"]]
        # What else Git knows by a name, such as FETCH_HEAD, counts where no branch and no tag has it.
        found = meant(self._git, base, before, places=places) or peeled(self._git, base, before)
        if found is None:
            raise _unknown(name)
        return found

    def common(self, name: str, ours: str = "HEAD") -> CommitId:
        """Return the commit at which ``ours``, or what is checked out, parted from ``name``.

        Raises:
            UnknownRevisionError: nothing has that name, or the two have nothing in common.
        """
        sides = self.commit_id(name), self.commit_id(ours)
        done = self._git.run("merge-base", "--end-of-options", *sides, bounds=Bounds(_SECONDS))
        found = done.output.decode("ascii", "replace").strip()
        if done.code != 0 or len(found) != _COMMIT_CHARACTERS:
            raise UnknownRevisionError(
                f"{ours} has nothing in common with {name}",
                hint="Fetch the whole history: 'git fetch --unshallow', or fetch-depth: 0 in continuous integration",
            )
        return CommitId(found)

    def commits(self, start: CommitId, limit: int) -> list[Commit]:
        """Return commits from ``start`` on, newest first.

        Raises:
            UnknownRevisionError: there is no such commit.
        """
        return read_commits(self._git, start, skip=0, limit=limit)

    def is_descendant(self, commit_id: CommitId, of: CommitId) -> bool:
        """Return whether ``of`` is an ancestor of ``commit_id`` (or is it)."""
        arguments = ("merge-base", "--is-ancestor", of, commit_id)
        return self._git.run(*arguments, bounds=Bounds(_SECONDS)).code == 0

    def tree(self, commit_id: CommitId) -> PolicyTree:
        """Return the policy files of a commit.

        Raises:
            BundleRejectedError: the tree holds something that policy may not hold.
            UnknownRevisionError: there is no such commit.
        """
        return Trees(self._git)(commit_id)


class CheckoutRepository:
    """Implements ``PolicyRepository`` over a working copy's own Git, where its remote need not be reached."""

    def __init__(self, directory: Path) -> None:
        self._checkout = Checkout(directory)

    async def fetch(self, *, proposal: str = "") -> None:
        """Do nothing: what the checkout has is all that is meant."""

    async def head(self) -> CommitId:
        """Return the commit that is checked out."""
        return await asyncio.to_thread(self._checkout.commit_id, "HEAD")

    async def resolve(self, name: str) -> CommitId:
        """Return the commit that a name means in the checkout.

        Raises:
            UnknownRevisionError: nothing has that name.
        """
        return await asyncio.to_thread(self._checkout.commit_id, name)

    async def commit(self, commit_id: CommitId) -> Commit:
        """Return one commit.

        Raises:
            UnknownRevisionError: there is no such commit.
        """
        return (await asyncio.to_thread(self._checkout.commits, commit_id, 1))[0]

    async def commits(self, *, after: str, limit: int) -> list[Commit]:
        """Return commits, newest first, starting below ``after`` (empty: from what is checked out)."""
        start = CommitId(after) if after else await self.head()
        found = await asyncio.to_thread(self._checkout.commits, start, limit + 1)
        return found[1:] if after else found[:limit]

    async def is_descendant(self, commit_id: CommitId, *, of: CommitId) -> bool:
        """Return whether ``of`` is an ancestor of ``commit_id`` (or is it)."""
        return await asyncio.to_thread(self._checkout.is_descendant, commit_id, of)

    async def web_page(self) -> str:
        """Return nothing: a checkout does not tell where people look at it."""
        return ""

    async def tree(self, commit_id: CommitId) -> PolicyTree:
        """Return the policy files of a commit.

        Raises:
            BundleRejectedError: the tree holds something that policy may not hold.
            UnknownRevisionError: there is no such commit.
        """
        return await asyncio.to_thread(self._checkout.tree, commit_id)


def _repository(directory: Path) -> Path:
    link = directory / ".git"
    if link.is_dir():
        return link
    # A further working tree of a repository names it in a file.
    if link.is_file():
        text = link.read_text(encoding="utf-8", errors="replace").strip()
        return (directory / text.removeprefix("gitdir: ")).resolve()
    raise RepositoryUnavailableError(
        f"{directory} is not the root of a Git checkout", hint="Name the working copy of the policy repository"
    )


def _unknown(name: str) -> UnknownRevisionError:
    return UnknownRevisionError(
        f"this checkout has no commit, branch or tag {name[:80]}",
        hint="'git fetch origin' brings the branches of the remote",
        revision=name[:80],
    )
