"""Makes a policy repository from the library that ships with the product, and commits changes to one it made.

Writes only where it is told to, never over existing files, and reads no Git configuration of the person who
runs it: author and branch are always the same. The control plane itself never writes to a repository; this is
for people who start one and for the demo.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import git

from aisecops_server.adapters.git.shipped import shipped_policy
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.errors import InvalidRequestError, RepositoryUnavailableError

AUTHOR = git.Actor("AISecOps", "policy@aisecops.invalid")
BRANCH = "main"
FIRST_MESSAGE = "Start from the shipped policy library"


def create_policy_repository(path: Path, *, at_seconds: int, files: Mapping[str, bytes] | None = None) -> CommitId:
    """Make a Git repository at ``path`` that holds ``files``, the shipped policy when left out, in one commit.

    Returns the commit.

    Raises:
        InvalidRequestError: there is something at ``path`` already.
        RepositoryUnavailableError: the repository cannot be made.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidRequestError(
            f"{path} exists and is not empty", hint="Give a path that does not exist yet", field="path"
        )
    held = shipped_policy() if files is None else files
    try:
        # An empty template keeps hooks of the person's own Git set-up out. GitPython calls the option unsafe
        # because a foreign template would bring hooks; none is what is wanted here.
        git.Repo.init(path, initial_branch=BRANCH, template="", allow_unsafe_options=True).close()
    except (git.GitError, OSError) as error:
        raise RepositoryUnavailableError(
            f"no repository can be made at {path}", hint="Check that git is installed and the path is writable"
        ) from error
    return commit_files(path, held, message=FIRST_MESSAGE, at_seconds=at_seconds)


def copy_repository(path: Path, target: Path) -> None:
    """Copy a repository, with all its history and without hooks and settings of anybody, to a bare one.

    Raises:
        RepositoryUnavailableError: it is none, or it cannot be copied.
    """
    try:
        git.Repo.clone_from(
            str(path.absolute()), target, bare=True, no_hardlinks=True, template="", allow_unsafe_options=True
        ).close()
    except (git.GitError, OSError) as error:
        raise RepositoryUnavailableError(
            f"{path} cannot be copied", hint="Name a policy repository that this user owns"
        ) from error


def commit_files(path: Path, files: Mapping[str, bytes], *, message: str, at_seconds: int) -> CommitId:
    """Write ``files`` into the repository at ``path`` and commit them on the checked-out branch.

    Raises:
        RepositoryUnavailableError: there is no repository at ``path``, or it cannot be written.
    """
    date = f"{at_seconds} +0000"
    try:
        with git.Repo(path) as repository:
            _write(path, files)
            repository.index.add(sorted(files))
            commit = repository.index.commit(
                message, author=AUTHOR, committer=AUTHOR, author_date=date, commit_date=date, skip_hooks=True
            )
            return CommitId(commit.hexsha)
    except (git.GitError, OSError, ValueError) as error:
        raise RepositoryUnavailableError(
            f"nothing can be committed to {path}", hint="Check that it is a Git repository of yours"
        ) from error


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
