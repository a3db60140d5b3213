"""What came of calls, on disk until the control plane knows it: digests, cost and outcome, and nothing that was said.

One agent of one control plane has a folder, and each process that acts for it a folder in there, which it holds by a
lock; what a process left behind that has ended is taken over, oldest first, by the next that opens the spool. Files are
for their owner only (0600, in folders of 0700). They are in the file system's hands at once, which outlives the
process; ``secure`` waits until they outlive the machine as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aisecops.v1.execution_service_pb2 import CompleteRequest
from google.protobuf.message import DecodeError

MOST = 4096
_LOCK, _HALF = ".lock", ".half"


class SpoolError(Exception):
    """Nothing can be kept there."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of one call of a session, in ``path`` if it is on disk."""

    session: str
    request: CompleteRequest
    path: Path | None = None


@dataclass(slots=True)
class Spool:
    """The folder of this process; ``most`` is how many calls it keeps. ``left`` is what ended processes left behind."""

    folder: Path
    left: list[Kept]
    most: int = MOST
    _lock: int = field(default=-1, repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)
    _held: int = 0

    @classmethod
    def open(cls, root: Path, whose: str, key: str, *, most: int = MOST) -> Spool:
        """Open the spool of ``whose`` under ``root``, as the process that calls itself ``key``.

        Raises:
            SpoolError: there can be no such folder, or others may look into it.
        """
        place = root / hashlib.sha256(whose.encode()).hexdigest()[:32]
        try:
            for folder in (root, place):
                _own(folder)
            with _locked(place / _LOCK):
                folder = place / key
                folder.mkdir(mode=0o700)
                opened = cls(folder, [], most, _take(folder / _LOCK))
                with contextlib.ExitStack() as undone:
                    undone.callback(os.close, opened._lock)
                    opened._take_over(place)
                    undone.pop_all()
        except OSError as error:
            raise SpoolError(f"nothing can be kept in {root}: {error.strerror or error}") from error
        return opened

    def keep(self, session: str, request: CompleteRequest) -> Kept:
        """Keep what came of a call.

        Raises:
            SpoolError: it cannot be kept.
        """
        if self._held >= self.most:
            raise SpoolError(f"{self.most} calls wait in {self.folder} already")
        path = self._next()
        half = path.with_suffix(_HALF)
        try:
            handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _write(handle, session.encode() + b"\n" + request.SerializeToString(deterministic=True))
            finally:
                os.close(handle)
            half.rename(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                half.unlink()
            raise SpoolError(f"it cannot be kept in {self.folder}: {error.strerror}") from error
        self._held += 1
        return Kept(session, request, path)

    def secure(self, kept: Kept) -> None:
        """Wait until what is kept outlives the machine.

        Raises:
            OSError: it does not.
        """
        for path in (kept.path, self.folder, self.folder.parent) if kept.path else ():
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def forget(self, kept: Kept) -> None:
        """Keep it no longer, because it is told."""
        if kept.path is not None:
            self._held -= 1
            with contextlib.suppress(OSError):
                kept.path.unlink()

    def close(self) -> None:
        """Let whoever opens the spool next have what is still kept."""
        if self._lock < 0:
            return
        # Whoever opens the spool meanwhile finds the folder whole, or does not find it.
        with contextlib.suppress(OSError), _locked(self.folder.parent / _LOCK):
            if not self._held:
                (self.folder / _LOCK).unlink()
                self.folder.rmdir()
        os.close(self._lock)
        self._lock = -1

    def _next(self) -> Path:
        return self.folder / f"{next(self._numbers):08d}"

    def _take_over(self, place: Path) -> None:
        """Take what ended processes kept, in their order and within the bound; the rest waits for another time."""
        others = [found for found in place.iterdir() if found.is_dir() and found != self.folder]
        for folder in sorted(others, key=lambda found: found.stat().st_mtime_ns):
            with contextlib.suppress(BlockingIOError):
                lock = _take(folder / _LOCK)
                try:
                    self._take_from(folder)
                finally:
                    os.close(lock)

    def _take_from(self, folder: Path) -> None:
        for old in sorted(found for found in folder.iterdir() if found.name != _LOCK):
            if old.suffix == _HALF:
                # Its process was ended while it wrote this, before the client had its answer.
                old.unlink()
            elif self._held < self.most:
                path = self._next()
                old.rename(path)
                self._held += 1
                self.left.append(_read(path))
        if not any(found.name != _LOCK for found in folder.iterdir()):
            (folder / _LOCK).unlink()
            folder.rmdir()


def _read(path: Path) -> Kept:
    """Return what is kept in a file; of what cannot be read, only that it was."""
    session, _, data = path.read_bytes().partition(b"\n")
    with contextlib.suppress(DecodeError, UnicodeDecodeError):
        return Kept(session.decode(), CompleteRequest.FromString(data), path)
    return Kept("", CompleteRequest(), path)


def _own(folder: Path) -> None:
    """Make a folder that only its owner looks into.

    Raises:
        SpoolError: others may.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat(follow_symlinks=False)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SpoolError(f"others may look into {folder}: give a folder of your own with mode 0700")


def _take(path: Path, *, wait: bool = False) -> int:
    """Lock a file for as long as this process lives.

    Raises:
        BlockingIOError: another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = _take(path, wait=True)
    try:
        yield
    finally:
        os.close(handle)


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
