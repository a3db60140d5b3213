"""Makes a policy repository from the library that ships with the product, and commits changes to one it made.

Writes only where it is told to, never over existing files, and reads no Git configuration of the person who
runs it: author and branch are always the same. The control plane itself never writes to a repository; this is
for people who start one and for the demo.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import git

from aisecops_server.domain.bundle import CommitId
from aisecops_server.domain.errors import InvalidRequestError, RepositoryUnavailableError

AUTHOR = git.Actor("AISecOps", "policy@aisecops.invalid")
BRANCH = "main"
FIRST_MESSAGE = "Start from the shipped policy library"

# Where each part of the library goes in a policy repository.
_PARTS = {"bundles/default": "", "rego": "rego"}


def shipped_policy() -> dict[str, bytes]:
    """Return the files of the policy library that ships with the product, by their path in a policy repository.

    Raises:
        RepositoryUnavailableError: the installation carries no policy library.
    """
    root = library_root()
    return {
        str(Path(target) / path.relative_to(root / part)): path.read_bytes()
        for part, target in _PARTS.items()
        for path in _files(root / part)
    }


def starter_files() -> dict[str, bytes]:
    """Return what a policy repository of people's own has besides the shipped policy, by path.

    Raises:
        RepositoryUnavailableError: the installation carries no policy library.
    """
    root = library_root() / "bundles" / "starter"
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in _files(root)}
    return {_hidden(path): content for path, content in found.items()}


def _hidden(path: str) -> str:
    """Return where a starter's file goes; what begins with ``dot-`` is hidden there, and visible in this tree."""
    return "/".join(f".{part.removeprefix('dot-')}" if part.startswith("dot-") else part for part in path.split("/"))


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


def library_root() -> Path:
    """Return the directory that holds the shipped ``rego`` and ``bundles``.

    Raises:
        RepositoryUnavailableError: the installation carries no policy library.
    """
    package = Path(__file__).resolve().parents[2]
    # A wheel carries the library inside the package; an editable install finds it at the root of the sources.
    for root in (package / "share", package.parents[1]):
        if (root / "rego" / "aisecops").is_dir() and (root / "bundles" / "default").is_dir():
            return root
    raise RepositoryUnavailableError(
        "this installation carries no policy library", hint="Install the aisecops distribution again"
    )


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
