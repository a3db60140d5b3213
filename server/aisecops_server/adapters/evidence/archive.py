"""Packs an evidence package: a zip archive that is exactly its files, so that same files give same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

# The earliest time that the format knows.
_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644 << 16


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of ``files``: sorted, stored as they are, without times and owners."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            archive.writestr(entry, files[name])
    return target.getvalue()
