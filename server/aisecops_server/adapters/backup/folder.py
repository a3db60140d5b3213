"""The files of a state directory in a backup, and back.

Owns which files make a state: databases, bundles, keys. What is made again (the mirror of the repository, sockets,
results that are being worked on) is left out. The log is copied after what refers to it, so that a backup holds no
checkpoint of a log that is longer than its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from aisecops_server.domain.backup import MANIFEST
from aisecops_server.domain.errors import ContendedError, IntegrityError, InvalidRequestError, LogUnavailableError

LOG = "audit.db"
_BESIDE = ("checkpoint.db", "activation.db", "rollout.db", "drift.db", "edge.db", "traces.db", "replay/replay.db")
_FOLDERS = ("bundles/archives", "bundles/revisions", "bundles/released", "keys")
_KEYS = "keys"
_TRIES = 3

CopyDatabase = Callable[[Path, Path, Callable[[int, int], None]], None]


def copy_state(state: Path, folder: Path, copy: CopyDatabase, told: Callable[[int, int], None]) -> None:
    """Copy what makes the state of a control plane, which may run, into ``folder``.

    Raises:
        InvalidRequestError: something is in the folder already.
        ContendedError: keys change all the time.
        LogUnavailableError: there is no log, or something cannot be read or written.
    """
    if not (state / LOG).is_file():
        raise LogUnavailableError(
            f"there is no log in {state}", hint="Name the control plane's state directory with --state-dir"
        )
    _make_empty(folder)
    for _ in range(_TRIES):
        keys = _digests(state / _KEYS)
        for name in (*_BESIDE, LOG):
            if (state / name).is_file():
                _fresh(folder / name)
                copy(state / name, folder / name, told if name == LOG else lambda _done, _of: None)
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
    _write(folder / MANIFEST, content)
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        _flush(place)


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


def lay_out(folder: Path, state: Path) -> None:
    """Put a backup's files where a control plane finds them, all or none.

    Raises:
        InvalidRequestError: there is a state already.
        LogUnavailableError: it cannot be written.
    """
    if state.exists() and any(state.iterdir()):
        raise InvalidRequestError(
            f"there is something in {state} already",
            hint="Move it away first, and keep it: it is what happened since the backup",
            field="state_dir",
        )
    beside = state.with_name(f".{state.name}.restoring")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(mode=0o700, parents=True)
        for name in digests(folder):
            _write(_made(beside / name), (folder / name).read_bytes())
        for place in (beside, *(path for path in beside.rglob("*") if path.is_dir())):
            _flush(place)
        if state.exists():
            state.rmdir()
        beside.rename(state)
        _flush(state.parent)
    except OSError as error:
        raise LogUnavailableError(f"{state} cannot be written ({error})", hint="Check the disk") from error


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
        content = path.read_bytes()
        destination = target / path.relative_to(source)
        _fresh(destination)
        _write(destination, content)


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


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
