"""The policy repository, read without a control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aisecops_server.cli.configuration import settings
from aisecops_server.domain.errors import InvalidRequestError, UnknownRevisionError


def changed_files(before: str, after: str) -> dict[str, str]:
    """Return a unified diff for each policy file that differs between two revisions, by path.

    ``after`` is the head when empty, ``before`` the commit below ``after``.

    Raises:
        InvalidRequestError: no policy repository is configured.
        UnknownRevisionError: there is no such commit, branch or tag.
    """
    with _mirror() as mirror:
        return asyncio.run(_changed(mirror, before, after))


@contextmanager
def _mirror() -> Iterator[Path]:
    # A mirror of its own: the control plane's belongs to the control plane.
    with TemporaryDirectory(prefix="aisecops-") as directory:
        yield Path(directory) / "mirror.git"


async def _changed(mirror: Path, before: str, after: str) -> dict[str, str]:
    from aisecops_server.adapters.git.mirror import GitRepository  # noqa: PLC0415
    from aisecops_server.domain.policy_diff import policy_diff  # noqa: PLC0415

    configured = settings()
    if not configured.repository:
        raise InvalidRequestError(
            "no policy repository is configured", hint="Set AISECOPS_REPOSITORY, or repository in the settings file"
        )
    repository = GitRepository(
        configured.repository,
        mirror=mirror,
        branch=configured.branch,
        fetch_timeout_seconds=configured.fetch_timeout_seconds,
    )
    await repository.fetch()
    newer = await (repository.resolve(after) if after else repository.head())
    if before:
        older = await repository.resolve(before)
    else:
        below = await repository.commits(after=newer, limit=1)
        if not below:
            raise UnknownRevisionError(f"commit {newer} has no parent to compare with", hint="Name both revisions")
        older = below[0].id
    return policy_diff(await repository.tree(older), await repository.tree(newer))
