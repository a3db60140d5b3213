"""The state directory, which is nobody else's to read."""

from __future__ import annotations

from pathlib import Path


def private(directory: Path) -> Path:
    """Return ``directory``, made for its owner alone where it is missing."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
