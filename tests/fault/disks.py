"""Disks that fail on request, as SQLite file systems: they forget what was not synchronised, fill up, or break."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw

_NAMES = itertools.count()


@dataclass(frozen=True)
class Step:
    """One thing that happened to a file. ``data`` is what was written at ``offset``, or ``None`` for other kinds."""

    kind: str
    file: str
    offset: int = 0
    data: bytes = b""


@dataclass
class Faults:
    """What the disk does now."""

    fail_sync: bool = False
    fail_read: bool = False
    room: int | None = None
    steps: list[Step] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, step: Step) -> None:
        with self.lock:
            self.steps.append(step)


class _File(apsw.VFSFile):
    def __init__(self, name: apsw.URIFilename | str | None, flags: list[int], faults: Faults) -> None:
        super().__init__("", name, flags)
        self._faults = faults
        text = name if isinstance(name, str) else name.filename() if name else ""
        self._name = Path(text).name

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        if self._faults.fail_read:
            raise apsw.IOError("the disk did not give it back")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        faults = self._faults
        if faults.room is not None:
            grown = offset + len(data) - self.xFileSize()
            if grown > faults.room:
                raise apsw.FullError("no room left")
            faults.room -= max(grown, 0)
        super().xWrite(data, offset)
        faults.note(Step("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._faults.note(Step("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._faults.fail_sync:
            raise apsw.IOError("the disk did not take it")
        super().xSync(flags)
        self._faults.note(Step("sync", self._name))


class _Disk(apsw.VFS):
    def __init__(self, name: str, faults: Faults) -> None:
        super().__init__(name, "")
        self._faults = faults

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(name, flags, self._faults)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's signature
        super().xDelete(filename, syncdir)
        self._faults.note(Step("delete", Path(filename).name))


@contextlib.contextmanager
def faulty_disk() -> Iterator[tuple[str, Faults]]:
    """Give the name of a file system layer, and the faults that it reads before every call."""
    faults = Faults()
    name = f"faulty-{next(_NAMES)}"
    disk = _Disk(name, faults)
    try:
        yield name, faults
    finally:
        disk.unregister()


def after_power_cut(steps: list[Step], cut: int, seed: int, folder: Path) -> None:
    """Make ``folder`` with the files as a disk may hold them when power fails before step ``cut``.

    What was synchronised is there. Each later write is there, is not, or is there by its first half.
    """
    chance = random.Random(seed)
    files, waiting = _synchronised(steps[:cut])
    for name, late in waiting.items():
        for step in late:
            kept = chance.choice((0, len(step.data) // 2, len(step.data)))
            if kept or (step.kind == "truncate" and chance.random() < 0.5):
                _apply(files[name], step, kept)
    folder.mkdir()
    for name, content in files.items():
        if content and name:  # a temporary file has no name and does not outlive the process
            (folder / name).write_bytes(content)


def _synchronised(steps: list[Step]) -> tuple[dict[str, bytearray], dict[str, list[Step]]]:
    """Return what is on the disk for certain, and what only may be there."""
    files: dict[str, bytearray] = {}
    waiting: dict[str, list[Step]] = {}
    for step in steps:
        content = files.setdefault(step.file, bytearray())
        if step.kind == "delete":
            del files[step.file]
            waiting.pop(step.file, None)
        elif step.kind == "sync":
            for earlier in waiting.pop(step.file, []):
                _apply(content, earlier, len(earlier.data))
        else:
            waiting.setdefault(step.file, []).append(step)
    return files, waiting


def _apply(content: bytearray, step: Step, kept: int) -> None:
    if step.kind == "truncate":
        del content[step.offset :]
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + kept] = step.data[:kept]
