"""What a channel announces: where it is read, and where it is kept what counted last."""

from __future__ import annotations

from typing import Protocol

from aisecops_server.domain.bundles.announcement import Announced
from aisecops_server.domain.bundles.bundle import CommitId, PolicyTree


class AnnouncementSource(Protocol):
    """Where announcements are read; nothing of what it returns is verified."""

    async def announcement(self, channel: str) -> bytes | None:
        """Return what the fetched branch of a channel holds; ``None`` where there is none.

        Raises:
            RepositoryUnavailableError: it cannot be read.
            BundleRejectedError: what is there is too large.
        """
        ...

    async def tree(self, commit_id: CommitId) -> PolicyTree:
        """Return the policy files of a commit.

        Raises:
            UnknownRevisionError: there is no such commit.
            BundleRejectedError: the tree holds something that policy may not hold.
        """
        ...


class AnnouncementStore(Protocol):
    """Which announcement counted last, of each channel, for all control planes that share what is live."""

    async def announced(self, channel: str) -> Announced | None:
        """Return what counted last; ``None`` before the first.

        Raises:
            LogUnavailableError, IntegrityError: it cannot be known.
        """
        ...

    async def advance(self, announced: Announced) -> bool:
        """Let an announcement count from now on, durably; return whether none with this or a higher number did.

        Raises:
            LogUnavailableError: it could not be made durable; what counted before still does.
        """
        ...


class AnnouncementPlace(Protocol):
    """The branch of a channel, to be written by who announces."""

    def newest(self, branch: str) -> bytes | None:
        """Return what the branch holds now; ``None`` where there is none.

        Raises:
            RepositoryUnavailableError: it cannot be read.
        """
        ...

    def publish(self, branch: str, content: bytes, *, message: str, at_seconds: int) -> None:
        """Put ``content`` on top of what ``newest`` returned.

        Raises:
            ContendedError: somebody else was faster.
            RepositoryUnavailableError: it cannot be written.
        """
        ...
