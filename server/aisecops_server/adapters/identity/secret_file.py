"""A secret that stands in a file of its own, which nobody but its owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS = 0o077
_MOST = 4096


def secret_in(file: Path, *, least: int) -> bytes:
    """Return what the file holds, without white space around it.

    Raises:
        ValueError: it cannot be read, others can read it, or it holds fewer than ``least`` bytes, or far more.
    """
    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            content = stream.read(_MOST + 1).strip()
    except OSError as error:
        raise ValueError(f"{file} cannot be read") from error
    if status.st_mode & _OTHERS or not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{file} can be read by others than its owner")
    if not least <= len(content) <= _MOST:
        raise ValueError(f"{file} holds no secret of at least {least} characters")
    return content
