"""The policy library that ships with the product: where it lies, and the files of a policy repository made from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from aisecops_server.domain.errors import RepositoryUnavailableError

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
