"""What a session's model heard so far, and its grants that are not told of yet: a file of its own for each session.

The file (mode 0600) holds what people said and tools returned, and is removed when the session ends.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from aisecops_hook.failures import HookError

TEXT_BYTES, _FILE_BYTES = 256 * 1024, 2_000_000


class Memory(NamedTuple):
    """The file of one session."""

    path: str

    @classmethod
    def of(cls, folder: str, session: str) -> Memory:
        """Return the memory of a session, in a folder that only its owner reads.

        Raises:
            HookError: there can be no such folder.
        """
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - pathlib alone costs milliseconds
            found = os.stat(folder)  # noqa: PTH116
        except OSError as error:
            raise HookError(f"nothing can be kept in {folder!a}: {error.strerror}") from error
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise HookError(f"others may look into {folder!a}: give a folder with mode 0700")
        return cls(f"{folder}/{hashlib.sha256(session.encode('utf-8', 'replace')).hexdigest()[:32]}.jsonl")

    def entries(self) -> list[dict[str, Any]]:
        """Return everything that is kept, oldest first.

        Raises:
            HookError: it cannot be read.
        """
        try:
            with open(self.path, "rb") as file:  # noqa: PTH123
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise HookError("what the session heard so far cannot be read: end it, or remove its file") from error

    def add(self, entry: Mapping[str, Any]) -> None:
        """Keep something; of what does not fit, the digest alone.

        Raises:
            HookError: it cannot be kept, so nothing after it could be judged by it.
        """
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                kept = _fitted(entry, left=_FILE_BYTES - os.fstat(handle).st_size)
                os.write(handle, json.dumps(kept).encode() + b"\n")
            finally:
                os.close(handle)
        except OSError as error:
            raise HookError(f"what the session heard cannot be kept: {error.strerror}") from error

    def forget(self) -> None:
        """Remove the file."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108


def _fitted(entry: Mapping[str, Any], *, left: int) -> dict[str, Any]:
    text = entry.get("text")
    if not isinstance(text, str):
        return dict(entry)
    data = text.encode("utf-8", "replace")
    if len(data) <= min(TEXT_BYTES, left):
        return dict(entry)
    return {**entry, "text": None, "digest": hashlib.sha256(data).hexdigest()}
