"""The policy repository, read without a control plane, through a mirror of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.domain.errors import InvalidRequestError


def changed_files(before: str, after: str) -> Mapping[str, str]:
    """Return a unified diff for each policy file that differs between two revisions, by path.

    Raises:
        InvalidRequestError: no policy repository is configured.
        UnknownRevisionError: there is no such commit, branch or tag.
    """
    from aisecops_server.adapters.git.mirror import GitRepository  # noqa: PLC0415
    from aisecops_server.usecases.replays.compare_policies import ComparePolicies  # noqa: PLC0415

    configured = tenant_settings()
    if not configured.repository:
        raise InvalidRequestError(
            "no policy repository is configured", hint="Set AISECOPS_REPOSITORY, or repository in the settings file"
        )
    with TemporaryDirectory(prefix="aisecops-") as directory:
        repository = GitRepository(
            configured.repository,
            mirror=Path(directory) / "mirror.git",
            branch=configured.branch,
            fetch_timeout_seconds=configured.fetch_timeout_seconds,
        )
        return asyncio.run(ComparePolicies(repository)(before, after))
