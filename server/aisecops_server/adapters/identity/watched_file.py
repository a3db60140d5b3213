"""A file that is looked at again now and then, and read again only when it is another one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aisecops_server.ports import Clock

MOST_BYTES = 1024 * 1024
_LOOK_NS = 1_000_000_000
_NEVER = (-1, -1, -1)
_ABSENT = (0, 0, 0)


@dataclass(slots=True)
class WatchedFile:
    """Says whether a file changed, looking at most once a second."""

    path: Path
    clock: Clock
    _stamp: tuple[int, int, int] = _NEVER
    _looked_at_ns: int | None = None

    def changed(self) -> bool:
        """Return whether the file is another one than at the last look; true at the first."""
        now = self.clock.monotonic_ns()
        if self._looked_at_ns is not None and now - self._looked_at_ns < _LOOK_NS:
            return False
        self._looked_at_ns = now
        before, self._stamp = self._stamp, self._current()
        return self._stamp != before

    def _current(self) -> tuple[int, int, int]:
        try:
            status = self.path.stat()
        except OSError:
            return _ABSENT
        return status.st_ino, status.st_mtime_ns, status.st_size


def bounded_content(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds more than ``most_bytes``.
    """
    with path.open("rb") as stream:
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path} is larger than {most_bytes} bytes")
    return content
