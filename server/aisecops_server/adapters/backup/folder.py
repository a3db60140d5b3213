"""The files of a state directory in a backup, and back.

Owns which files make a state: databases, bundles, keys. What is made again (the mirror of the repository, sockets,
results that are being worked on) is left out. The log is copied after what refers to it, so that a backup holds no
checkpoint of a log that is longer than its own.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from aisecops_server.domain.errors import ContendedError, IntegrityError, InvalidRequestError, LogUnavailableError
from aisecops_server.domain.log.backup import MANIFEST, RESTORING

LOG = "audit.db"
# What an empty state directory may hold: what a file system puts there, and a restore that was cut off.
_NOTHING = {"lost+found", RESTORING}
_BESIDE = ("checkpoint.db", "activation.db", "rollout.db", "drift.db", "edge.db", "traces.db", "replay/replay.db")
_FOLDERS = ("bundles/archives", "bundles/revisions", "bundles/released", "keys")
_KEYS = "keys"
_TRIES = 3

CopyDatabase = Callable[[Path, Path, Callable[[int, int], None]], None]


def copy_state(state: Path, folder: Path, copy: CopyDatabase, told: Callable[[int, int], None]) -> None:
    """Copy what makes the state of a control plane, which may run, into ``folder``.

    Raises:
        InvalidRequestError: something is in the folder already, or it is in the state directory.
        ContendedError: keys change all the time.
        LogUnavailableError: there is no log, or something cannot be read or written.
    """
    if not (state / LOG).is_file():
        raise LogUnavailableError(
            f"there is no log in {state}", hint="Name the control plane's state directory with --state-dir"
        )
    if state.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise InvalidRequestError(
            f"{folder} is in the state directory itself", hint="Back up to another disk", field="folder"
        )
    _make_empty(folder)
    for _ in range(_TRIES):
        keys = _digests(state / _KEYS)
        for name in (*_BESIDE, LOG):
            if (state / name).is_file():
                _fresh(folder / name)
                copy(state / name, folder / name, told if name == LOG else lambda _done, _of: None)
        # A key that is deleted where it was is not to stay here from the time before.
        shutil.rmtree(folder / _KEYS, ignore_errors=True)
        for name in _FOLDERS:
            _copy_folder(state / name, folder / name)
        if _digests(state / _KEYS) == keys:
            return
    raise ContendedError("keys are changed while they are copied", hint="Make the backup again in a moment")


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a backup but its manifest."""
    return {name: digest for name, digest in _digests(folder).items() if name != MANIFEST}


def write_manifest(folder: Path, content: bytes) -> None:
    """Write the manifest, last and durably: a folder without one is no backup."""
    _write(folder / MANIFEST, io.BytesIO(content))
    _flush_below(folder)


def read_manifest(folder: Path) -> bytes:
    """Return the manifest.

    Raises:
        IntegrityError: there is none, so the folder is no whole backup.
    """
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"{folder} is no whole backup: it has no {MANIFEST}", hint="Use another; this one was not finished"
        ) from error


def stage(folder: Path, state: Path, files: Mapping[str, str]) -> Path:
    """Copy a backup's files into a place inside ``state`` that nobody serves from, and return that place.

    The place is inside, because a state directory may be a file system of its own. While it is there, no log is opened.

    Raises:
        InvalidRequestError: there is a state already.
        IntegrityError: what was copied is not ``files``.
        LogUnavailableError: it cannot be written.
    """
    place = state / RESTORING
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if {entry.name for entry in state.iterdir()} - _NOTHING:
            raise InvalidRequestError(
                f"there is something in {state} already",
                hint="Move it away first, and keep it: it is what happened since the backup",
                field="state_dir",
            )
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        for name in files:
            _copy(folder / name, _made(place / name))
    except OSError as error:
        raise LogUnavailableError(f"{state} cannot be written ({error})", hint="Check the disk") from error
    if digests(place) != files:
        raise IntegrityError("the backup changed while it was restored", hint="Restore it from a copy of your own")
    return place


def discard(place: Path) -> None:
    """Take away what was staged and is not to be served."""
    shutil.rmtree(place, ignore_errors=True)


def put(place: Path, state: Path) -> None:
    """Move what was staged to where it is served from, the log last.

    Raises:
        LogUnavailableError: it cannot be moved; no log is opened until the directory is emptied.
    """
    try:
        _flush_below(place)
        for entry in sorted(place.iterdir(), key=lambda entry: entry.name == LOG):
            entry.rename(state / entry.name)
        _flush(state)
        place.rmdir()
        _flush(state)
    except OSError as error:
        raise LogUnavailableError(
            f"{state} cannot be written ({error})", hint="Check the disk, empty the directory and restore again"
        ) from error


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InvalidRequestError(
                f"there is something in {folder} already", hint="Name a new folder for each backup", field="folder"
            )
    except OSError as error:
        raise LogUnavailableError(f"{folder} cannot be made ({error})", hint="Name one that you may write") from error


def _copy_folder(source: Path, target: Path) -> None:
    for path in _files(source):
        destination = target / path.relative_to(source)
        _fresh(destination)
        _copy(path, destination)


def _fresh(path: Path) -> None:
    _made(path).unlink(missing_ok=True)


def _made(path: Path) -> Path:
    for parent in reversed(path.parents):
        parent.mkdir(mode=0o700, exist_ok=True)
    return path


def _digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): _digest(path) for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    """Yield regular files only: a link in a backup would be followed out of it."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise IntegrityError(f"{path} is not a plain file", hint="Nothing of ours is; take it away")
        if path.is_file() and not path.name.endswith(("-wal", "-shm")):
            yield path


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as stream:
        _write(target, stream)


def _write(path: Path, content: BinaryIO) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        shutil.copyfileobj(content, stream)
        stream.flush()
        os.fsync(stream.fileno())


def _flush_below(folder: Path) -> None:
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _flush(place)


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
