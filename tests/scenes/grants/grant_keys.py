"""A key of grants that is rotated by nobody."""

from __future__ import annotations

from pathlib import Path

from aisecops_server.adapters.signing.grants import GrantKey
from aisecops_server.adapters.signing.key_files import KeyFiles
from aisecops_server.domain.log.key_rotation import KeyUse


def grant_key(directory: Path) -> GrantKey:
    """Return the first key of ``directory`` that signs grants, made when it is missing."""
    return GrantKey(KeyFiles(directory, KeyUse.GRANT).first())
