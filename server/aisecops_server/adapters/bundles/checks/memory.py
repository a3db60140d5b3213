"""What earlier checks found, as files named by a digest of all that they read. Whoever deletes them loses some time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.domain.formats.canonical import JsonValue

MOST_FILES = 2048


class FileMemory:
    """Implements ``CheckMemory`` in a directory; one that cannot be written forgets."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def load(self, key: str) -> Mapping[str, JsonValue] | None:
        """Return what is kept under ``key``."""
        return await asyncio.to_thread(self._load, key)

    async def save(self, key: str, found: Mapping[str, JsonValue]) -> None:
        """Keep what was found."""
        await asyncio.to_thread(self._save, key, found)

    def _load(self, key: str) -> Mapping[str, JsonValue] | None:
        try:
            content: Any = orjson.loads((self._directory / f"{key}.json").read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None
        return content if isinstance(content, dict) else None

    def _save(self, key: str, found: Mapping[str, JsonValue]) -> None:
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tidy()
            handle, name = tempfile.mkstemp(dir=self._directory, suffix=".tmp")
            with os.fdopen(handle, "wb") as stream:
                stream.write(orjson.dumps(found))
            Path(name).replace(self._directory / f"{key}.json")

    def _tidy(self) -> None:
        kept = sorted(self._directory.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in kept[: max(0, len(kept) - MOST_FILES)]:
            path.unlink(missing_ok=True)
