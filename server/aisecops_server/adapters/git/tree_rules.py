"""Which entries of a commit's tree are policy, which are left alone, and which make the commit unfit.

Owns the one reading of ``git ls-tree -z -r -l``. The names of the whole tree are judged, because a hostile name
anywhere is a sign of attack; sizes and kinds only where policy lives, because nothing else is ever read.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from aisecops_server.domain.errors import BundleRejectedError
from aisecops_server.domain.policy.policy_paths import (
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    MAX_PATH_BYTES,
    MAX_TREE_BYTES,
    is_policy,
    lies_with_policy,
    problem_of_name,
)

# Enough for MAX_ENTRIES of the longest allowed paths; a tree that prints more has too many entries.
MAX_LISTING_BYTES = MAX_ENTRIES * (MAX_PATH_BYTES + 80)

# The executable bit is dropped: some filesystems set it on every file, and nothing is ever executed.
_FILE_MODES = frozenset({b"100644", b"100755"})
_KINDS = {b"120000": "a symbolic link", b"160000": "a submodule"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree that will be read."""

    path: str
    object_id: str
    size: int


def policy_entries(listing: bytes, *, commit: str) -> list[Entry]:
    """Return the entries of an ``ls-tree`` listing that are policy, sorted by path.

    Raises:
        BundleRejectedError: the tree holds something that a policy repository may not hold.
    """
    raw = [item for item in listing.split(b"\x00") if item]
    if len(raw) > MAX_ENTRIES:
        raise unfit(commit, "", f"the tree has more than {MAX_ENTRIES:,} files")
    found = sorted(_wanted(raw, commit), key=lambda entry: entry.path)
    if sum(entry.size for entry in found) > MAX_TREE_BYTES:
        raise unfit(commit, "", f"the policy files are larger than {MAX_TREE_BYTES // 1024**2} MiB together")
    return found


def _wanted(raw: list[bytes], commit: str) -> Iterator[Entry]:
    folded: dict[str, str] = {}
    for item in raw:
        head, _, name = item.partition(b"\t")
        mode, _, object_id, size = head.split()
        path = _path(name, commit)
        key = unicodedata.normalize("NFC", path).casefold()
        if other := folded.get(key):
            raise unfit(commit, path, f"the name differs from {other} only by case or accents")
        folded[key] = path
        if mode not in _FILE_MODES:
            raise unfit(commit, path, f"{_KINDS.get(mode, 'an entry of mode ' + mode.decode())} is not allowed")
        if _is_policy(path, commit):
            yield _sized(Entry(path, object_id.decode(), int(size)), commit)


def _path(name: bytes, commit: str) -> str:
    try:
        path = name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unfit(commit, repr(name), "the name is not UTF-8") from error
    if problem := problem_of_name(path):
        raise unfit(commit, (path if path.isprintable() else repr(path))[:80], problem)
    return path


def _is_policy(path: str, commit: str) -> bool:
    if lies_with_policy(path) and not is_policy(path):
        pure = PurePosixPath(path)
        raise unfit(commit, path, f"a file of kind {pure.suffix or pure.name} is not allowed beside policy")
    return is_policy(path)


def _sized(entry: Entry, commit: str) -> Entry:
    if entry.size > MAX_FILE_BYTES:
        raise unfit(commit, entry.path, f"the file has {entry.size:,} bytes, more than {MAX_FILE_BYTES:,}")
    return entry


def unfit(commit: str, path: str, why: str) -> BundleRejectedError:
    """Return the error that names what in a commit is unfit."""
    where = f"{path}: " if path else ""
    return BundleRejectedError(
        f"commit {commit[:12]} is refused: {where}{why}",
        hint="Mend the policy repository and push a new commit; the last good revision stays live",
        revision=commit,
        file=path,
    )
