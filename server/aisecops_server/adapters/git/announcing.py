"""The branch of a channel, written from a working copy by the person, or the workflow, that announces.

Runs in the announcer's own Git set-up, whose credentials a push needs. The working tree and the checked-out branch are
left alone: one file is committed on top of what was read, and pushed without force, so of two who announce at once
one is told. Nothing that the branch holds is run or believed here.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import git

from aisecops_server.adapters.git.create import AUTHOR
from aisecops_server.adapters.git.source import ref_name
from aisecops_server.domain.bundles.announcement import FILE, MOST_BYTES
from aisecops_server.domain.errors import ContendedError, RepositoryUnavailableError

REMOTE = "origin"
_NOBODY = "0" * 40


class AnnouncementBranch:
    """Implements ``AnnouncementPlace`` over a checkout: its remote, or the checkout itself where it has none."""

    def __init__(self, directory: Path, *, remote: str = "") -> None:
        """Use the ``remote`` of the checkout at ``directory``; empty for ``origin`` if it has that.

        Raises:
            RepositoryUnavailableError: it is no checkout, or has no such remote.
        """
        self._directory = directory.absolute()
        with self._opened("reading it") as repository:
            names = [each.name for each in repository.remotes]
        if remote and remote not in names:
            raise RepositoryUnavailableError(
                f"{self._directory} has no remote {ref_name(remote)}", hint="'git remote' lists those that there are"
            )
        self._remote = remote or (REMOTE if REMOTE in names else "")
        self._tip = ""

    @property
    def shown(self) -> str:
        """Return where announcements go: the remote's name, or the directory."""
        return self._remote or str(self._directory)

    def newest(self, branch: str) -> bytes | None:
        """Return what the branch holds now; ``None`` where there is none.

        Raises:
            RepositoryUnavailableError: it cannot be read.
        """
        with self._opened("reading the branch") as repository:
            self._tip = self._fetched(repository, branch)
            if not self._tip:
                return None
            try:
                blob = repository.commit(self._tip).tree[FILE]
            except KeyError:
                return None
            return bytes(blob.data_stream.read(MOST_BYTES + 1))

    def publish(self, branch: str, content: bytes, *, message: str, at_seconds: int) -> None:
        """Put ``content`` on top of what ``newest`` returned.

        Raises:
            ContendedError: somebody else was faster.
            RepositoryUnavailableError: it cannot be written.
        """
        with self._opened("writing the branch") as repository:
            made = self._committed(repository, content, message, at_seconds)
            try:
                if self._remote:
                    repository.git.push("--quiet", self._remote, f"{made}:refs/heads/{branch}")
                else:
                    repository.git.update_ref(f"refs/heads/{branch}", made, self._tip or _NOBODY)
            except git.GitCommandError as error:
                if self._fetched(repository, branch) != self._tip:
                    raise ContendedError(
                        f"somebody else announced on {branch} meanwhile", hint="Look at it, and announce again"
                    ) from error
                raise

    def _fetched(self, repository: git.Repo, branch: str) -> str:
        if self._remote:
            listed = str(repository.git.ls_remote("--quiet", self._remote, f"refs/heads/{branch}"))
            tip = listed.partition("\t")[0].strip()
            if tip:
                repository.git.fetch("--quiet", "--no-tags", "--no-write-fetch-head", self._remote, tip)
            return tip
        try:
            return str(repository.git.rev_parse("--verify", "--quiet", f"refs/heads/{branch}"))
        except git.GitCommandError:
            return ""

    def _committed(self, repository: git.Repo, content: bytes, message: str, at_seconds: int) -> str:
        with _file(content) as source:
            blob = repository.git.hash_object("-w", "--stdin", istream=source)
        with _file(f"100644 blob {blob}\t{FILE}\n".encode()) as source:
            tree = repository.git.mktree(istream=source)
        parents = ["-p", self._tip] if self._tip else []
        date = f"{at_seconds} +0000"
        environment = {
            "GIT_AUTHOR_NAME": str(AUTHOR.name),
            "GIT_AUTHOR_EMAIL": str(AUTHOR.email),
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_NAME": str(AUTHOR.name),
            "GIT_COMMITTER_EMAIL": str(AUTHOR.email),
            "GIT_COMMITTER_DATE": date,
        }
        return str(repository.git.commit_tree(tree, *parents, "-m", message, env=environment))

    @contextlib.contextmanager
    def _opened(self, doing: str) -> Iterator[git.Repo]:
        try:
            with git.Repo(self._directory) as repository:
                yield repository
        except (git.GitError, OSError, ValueError) as error:
            said = str(getattr(error, "stderr", "") or "").strip().splitlines()
            raise RepositoryUnavailableError(
                f"{doing} of {self._directory} failed{': ' + said[-1][:200] if said else ''}",
                hint="Run it in a checkout of the policy repository, as somebody who may push to it",
            ) from error


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file
