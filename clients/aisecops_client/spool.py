"""What came of calls, on disk until the control plane knows it: digests, cost and outcome, and nothing that was said.

Every enforcement point keeps it in this form, guards in agents and the MCP proxy, so that each takes over from any.
One agent of one control plane has a folder, and each process that acts for it a folder in there, which it holds by a
lock; what a process left behind that has ended is taken over, oldest first, by the next that opens the spool. Files are
for their owner only (0600, in folders of 0700). They are in the file system's hands at once, which outlives the
process; ``secure`` waits until they outlive the machine as well. What is found there may be anybody's work: only plain
files of this user with the names and sizes that are given here are read, and the rest is left alone and told of.
It needs file locks as Unix has them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aisecops.v1.execution_service_pb2 import CompleteRequest
from google.protobuf.message import DecodeError

MOST = 4096
# A report has a few hundred; what is larger was not written here.
MOST_BYTES = 64 * 1024
OLDEST_SECONDS = 30 * 86_400.0
_LOCK, _HALF = ".lock", ".half"
_NAME_CHARACTERS = 256


class SpoolError(Exception):
    """Nothing can be kept there."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of one call of a session, in ``path`` if it is on disk; ``secured`` if that outlives the machine."""

    session: str
    request: CompleteRequest
    path: Path | None = None
    secured: bool = False


@dataclass(slots=True)
class Spool:
    """The folder of this process; ``most`` is how many calls it keeps. ``left`` is what ended processes left behind.

    What is older than ``oldest_seconds`` is dropped. ``notes`` tells of that, and of what was not taken over.
    """

    folder: Path
    left: list[Kept]
    most: int = MOST
    _lock: int = field(default=-1, repr=False)
    oldest_seconds: float = OLDEST_SECONDS
    clock: Callable[[], float] = time.time
    notes: list[str] = field(default_factory=list)
    _counting: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)
    _held: int = 0

    @classmethod
    def open(
        cls, root: Path, whose: str, key: str, *, most: int = MOST, clock: Callable[[], float] = time.time
    ) -> Spool:
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
                opened = cls(folder, [], most, _take(folder / _LOCK), clock=clock)
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
        data = session.encode() + b"\n" + request.SerializeToString(deterministic=True)
        if len(data) > MOST_BYTES:
            raise SpoolError(f"it has {len(data)} bytes, and {MOST_BYTES} are kept of one call")
        if not self._counted():
            raise SpoolError(f"{self.most} calls wait in {self.folder} already")
        path = self._next()
        half = path.with_suffix(_HALF)
        try:
            handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _write(handle, data)
            finally:
                os.close(handle)
            half.rename(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                half.unlink()
            self._uncounted()
            raise SpoolError(f"it cannot be kept in {self.folder}: {error.strerror}") from error
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
            self._uncounted()
            with contextlib.suppress(OSError):
                kept.path.unlink()

    def is_too_old(self, kept: Kept) -> bool:
        """Return whether what came of a call has been kept for so long that it is dropped."""
        return kept.path is not None and _age(kept.path, self.clock()) > self.oldest_seconds

    def let_go(self) -> None:
        """Leave the folder to the process from which this one was forked."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

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

    def _counted(self) -> bool:
        """Count one more call, if there is room for it."""
        with self._counting:
            if self._held >= self.most:
                return False
            self._held += 1
            return True

    def _uncounted(self) -> None:
        with self._counting:
            self._held -= 1

    def _take_over(self, place: Path) -> None:
        """Take what ended processes kept, in their order and within the bound; the rest waits for another time."""
        with os.scandir(place) as found:
            others = [
                (one.stat(follow_symlinks=False).st_mtime_ns, Path(one.path))
                for one in found
                if one.is_dir(follow_symlinks=False) and one.name != self.folder.name
            ]
        for _, folder in sorted(others):
            try:
                lock = _take(folder / _LOCK)
            except BlockingIOError:
                continue
            except OSError as error:
                self.notes.append(f"what is in {str(folder)!r} is not taken over: {error.strerror}")
                continue
            try:
                self._take_from(folder)
            finally:
                os.close(lock)

    def _take_from(self, folder: Path) -> None:
        full = 0
        for old in sorted(found for found in folder.iterdir() if found.name != _LOCK):
            if not _is_ours(old):
                self.notes.append(f"{str(old)!r} was not written to be told, and is left alone")
            elif old.suffix == _HALF:
                # Its process was ended while it wrote this, before anybody had the call's result.
                old.unlink()
            elif _age(old, self.clock()) > self.oldest_seconds:
                self.notes.append(f"what came of {_named(_read(old))} is dropped: it could not be told for too long")
                old.unlink()
            elif self._counted():
                path = self._next()
                old.rename(path)
                self.left.append(_read(path))
            else:
                full += 1
        if full:
            self.notes.append(f"what came of {full} more calls is kept in {str(folder)!r} until there is room")
        if not any(found.name != _LOCK for found in folder.iterdir()):
            (folder / _LOCK).unlink()
            folder.rmdir()


def _is_ours(path: Path) -> bool:
    """Return whether a file can be one that was kept here: plain, of this user, named and no larger than such are."""
    found = path.stat(follow_symlinks=False)
    named = path.name.removesuffix(_HALF)
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_uid == os.geteuid()
        and found.st_size <= MOST_BYTES
        and named.isascii()
        and named.isdecimal()
    )


def _age(path: Path, now: float) -> float:
    """Return for how many seconds a file has been there; of one that is gone, none."""
    try:
        return now - path.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return 0.0


def _named(kept: Kept) -> str:
    return f"the grant {kept.request.grant_id}" if kept.request.grant_id else "a call"


def _read(path: Path) -> Kept:
    """Return what is kept in a file; of what cannot be told, only that it was."""
    session, _, data = path.read_bytes().partition(b"\n")
    with contextlib.suppress(DecodeError, UnicodeDecodeError):
        kept = Kept(session.decode(), CompleteRequest.FromString(data), path)
        grant = kept.request.grant_id
        # What was torn may end after the grant; what others wrote may forge lines where it is told of.
        if kept.request.HasField("report") and len(grant) <= _NAME_CHARACTERS and grant.isprintable():
            return kept
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
