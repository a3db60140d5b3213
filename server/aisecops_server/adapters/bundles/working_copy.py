"""The policy files of a working copy as they lie on the disk, committed or not."""

from __future__ import annotations

import os
from pathlib import Path

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.policy.policy_paths import (
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    POLICY_DIRECTORIES,
    POLICY_FILES,
    is_policy,
)


def read_working_copy(directory: Path) -> dict[str, bytes]:
    """Return the policy files below ``directory`` by their paths in it; links are not followed.

    Raises:
        InvalidRequestError: there are none, or they cannot be read as policy.
    """
    files: dict[str, bytes] = {}
    for path in (*map(directory.joinpath, POLICY_FILES), *_below(directory)):
        name = path.relative_to(directory).as_posix()
        if not is_policy(name) or not os.path.lexists(path):
            continue
        if path.is_symlink() or not path.is_file():
            raise _refused(path, "is not a plain file")
        files[name] = _content(path)
        if len(files) > MAX_ENTRIES:
            raise _refused(directory, f"has more than {MAX_ENTRIES:,} policy files")
    if not files:
        raise _refused(
            directory,
            "holds no policy",
            hint="Give the working copy of a policy repository; 'aisecops policy init ./policy' makes one",
        )
    return files


def _below(directory: Path) -> list[Path]:
    found = []
    for part in POLICY_DIRECTORIES:
        for root, _, names in os.walk(directory / part, followlinks=False):
            found += [Path(root) / name for name in names]
    return sorted(found)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise _refused(path, f"has more than {MAX_FILE_BYTES:,} bytes")
    return content


def _refused(
    path: Path, why: str, *, hint: str = "Give the working copy of a policy repository"
) -> InvalidRequestError:
    return InvalidRequestError(f"{path} {why}", hint=hint, field="working_copy")
