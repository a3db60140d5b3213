"""A key of grants that is rotated by nobody."""

from __future__ import annotations

from pathlib import Path

from aisecops_server.adapters.signing.grants import GrantKey, GrantKeyFiles


def grant_key(directory: Path) -> GrantKey:
    """Return the first key of ``directory`` that signs grants, made when it is missing."""
    return GrantKey(GrantKeyFiles(directory).first())
