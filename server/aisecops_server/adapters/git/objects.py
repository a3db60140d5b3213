"""The policy files of a commit, read object by object, each hashed again: what is returned is what the commit names.

An object is never another one under the same id, so what was read and hashed once need not be read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.adapters.git.runner import Bounds, Finished, HardenedGit, OutputTooLongError, printable
from aisecops_server.adapters.git.tree_rules import MAX_LISTING_BYTES, Entry, policy_entries, unfit
from aisecops_server.domain.bundles.bundle import Commit, CommitId, PolicyTree
from aisecops_server.domain.errors import BundleRejectedError, UnknownRevisionError
from aisecops_server.domain.policy.policy_paths import MAX_TREE_BYTES

READ = Bounds(seconds=20.0)
_FORMAT = "--format=%H%x1f%P%x1f%ct%x1f%an%x1f%s"
_SHOWN_CHARACTERS = 200
# Of the line that git prints above an object.
_WORDS = 3


@dataclass(frozen=True, slots=True)
class Head:
    """A commit, and the commits that it was made on."""

    commit: Commit
    parents: tuple[CommitId, ...]


class Trees:
    """Reads the policy files of commits; contents of the commit that was read last are remembered by their ids."""

    def __init__(self, git: HardenedGit) -> None:
        self._git = git
        self._last: Mapping[str, bytes] = {}

    def __call__(self, commit_id: CommitId) -> PolicyTree:
        """Return the policy files of a commit.

        Raises:
            BundleRejectedError: the tree holds something that policy may not hold.
            UnknownRevisionError: there is no such commit.
        """
        try:
            listing = self._git.run(
                *("ls-tree", "-z", "-r", "-l", "--full-tree", "--end-of-options", commit_id),
                bounds=Bounds(seconds=READ.seconds, output_bytes=MAX_LISTING_BYTES),
            )
        except OutputTooLongError as error:
            raise unfit(commit_id, "", "the tree has too many files") from error
        if listing.code != 0:
            raise unknown(commit_id)
        entries = policy_entries(listing.output, commit=commit_id)
        known = self._last
        missing = [entry for entry in entries if entry.object_id not in known]
        read = {**known, **_contents(self._git, missing, commit_id)} if missing else known
        self._last = {entry.object_id: read[entry.object_id] for entry in entries}
        return PolicyTree(commit_id, {entry.path: read[entry.object_id] for entry in entries})


def read_head(git: HardenedGit, reference: str) -> Head | None:
    """Return the commit that a full reference leads to; ``None`` where there is none."""
    finished = _log(git, f"{reference}^{{commit}}", skip=0, limit=1)
    lines = [line for line in finished.output.split(b"\x00") if line]
    return _head(lines[0]) if finished.code == 0 and lines else None


def read_commits(git: HardenedGit, start: CommitId, *, skip: int, limit: int) -> list[Commit]:
    """Return commits of the line that ends at ``start``, newest first.

    Raises:
        UnknownRevisionError: there is no such commit.
    """
    finished = _log(git, start, skip=skip, limit=limit)
    if finished.code != 0:
        raise unknown(start)
    return [_head(line).commit for line in finished.output.split(b"\x00") if line]


def read_blob(git: HardenedGit, name: str, *, most_bytes: int) -> bytes | None:
    """Return the content of the file that ``name`` (``REFERENCE:PATH``) names; ``None`` where there is none.

    Raises:
        BundleRejectedError: it is larger than ``most_bytes``.
    """
    header = 256
    try:
        answer = git.run(
            *("cat-file", "--batch"),
            bounds=Bounds(seconds=READ.seconds, output_bytes=most_bytes + header),
            stdin=f"{name}\n".encode(),
        )
    except OutputTooLongError as error:
        raise BundleRejectedError(
            f"{name} is larger than {most_bytes:,} bytes", hint="Find out who put it there", file=name
        ) from error
    head, _, rest = answer.output.partition(b"\n")
    words = head.split()
    # Anything but "ID blob SIZE": there is no such reference, no such path, or no file at it.
    if answer.code != 0 or len(words) != _WORDS or words[1] != b"blob":
        return None
    return rest[: int(words[2])]


def unknown(name: str) -> UnknownRevisionError:
    """Return the error for a name that nothing has."""
    return UnknownRevisionError(
        f"the policy repository has no commit, branch or tag {printable(name)[:_SHOWN_CHARACTERS]}",
        hint="'aisecops bundle sync' reads the repository; 'aisecops bundle list' shows its commits",
        revision=name[:_SHOWN_CHARACTERS],
    )


def _log(git: HardenedGit, start: str, *, skip: int, limit: int) -> Finished:
    try:
        return git.run(
            *("log", "-z", "--first-parent", "--encoding=UTF-8", "--no-notes", "--no-decorate", "--no-mailmap"),
            *(_FORMAT, f"--skip={skip}", f"--max-count={limit}", "--end-of-options", start),
            bounds=READ,
        )
    except OutputTooLongError as error:
        raise BundleRejectedError(
            "the first line of a commit's message is too long to be read",
            hint="Put a commit with a shorter one in its place",
            revision=printable(start)[:_SHOWN_CHARACTERS],
        ) from error


def _contents(git: HardenedGit, entries: list[Entry], commit_id: CommitId) -> dict[str, bytes]:
    """Return contents by object id, each the one that its id names."""
    wanted = "".join(f"{entry.object_id}\n" for entry in entries).encode()
    answer = git.run(
        *("cat-file", "--batch"),
        bounds=Bounds(seconds=READ.seconds, output_bytes=MAX_TREE_BYTES + 64 * len(entries) + 1),
        stdin=wanted,
    )
    read: dict[str, bytes] = {}
    position = 0
    for entry in entries:
        header_end = answer.output.find(b"\n", position)
        content = answer.output[header_end + 1 : header_end + 1 + entry.size]
        position = header_end + 1 + entry.size + 1
        if _object_id(content) != entry.object_id:
            raise unfit(commit_id, entry.path, "the object is missing or damaged in the mirror")
        read[entry.object_id] = content
    return read


def _head(line: bytes) -> Head:
    commit_id, parents, seconds, author, summary = line.decode("utf-8", "replace").split("\x1f", 4)
    commit = Commit(
        CommitId(commit_id.strip()),
        author=printable(author)[:_SHOWN_CHARACTERS],
        summary=printable(summary)[:_SHOWN_CHARACTERS],
        committed_at_seconds=int(seconds),
    )
    return Head(commit, tuple(map(CommitId, parents.split())))


def _object_id(content: bytes) -> str:
    # Git's own naming of objects, not a choice of ours.
    return hashlib.sha1(b"blob %d\x00%b" % (len(content), content), usedforsecurity=False).hexdigest()
