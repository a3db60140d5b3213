"""The tables of a policy repository's working copy: reads them, and appends entries to them.

Owns that what a file says stays as it is, byte for byte, and that the file then says exactly what it did plus the new
entries; a file for which that does not come out is refused. All files are made beside the old ones before the first
one is put in its place. Nothing is committed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aisecops_server.adapters.bundles.table_text import entry_text
from aisecops_server.adapters.bundles.yaml_tables import parse_yaml
from aisecops_server.domain.agents.onboarding import NewEntry
from aisecops_server.domain.errors import BundleRejectedError, InvalidRequestError, RepositoryUnavailableError
from aisecops_server.domain.formats.canonical import JsonValue

_MOST_BYTES = 16 * 1024 * 1024
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class TableFile:
    """One table as it lies on the disk."""

    path: Path
    content: bytes
    value: JsonValue


class PolicyFiles:
    """The tables under ``data/`` of one working copy, as they were when it was made."""

    def __init__(self, directory: Path) -> None:
        """Read all tables.

        Raises:
            InvalidRequestError: there are no tables at ``directory``.
            BundleRejectedError: a table is not a file that can be read as one.
        """
        data = directory / "data"
        paths = sorted(path for path in _listed(data) if path.suffix in _SUFFIXES)
        if not paths:
            raise InvalidRequestError(
                f"{directory} has no tables in data/",
                hint="Give the working copy of a policy repository; 'aisecops dev policy' makes one",
                field="policy",
            )
        self._files = {path.stem: _read(path) for path in paths}

    @property
    def tables(self) -> dict[str, JsonValue]:
        """Return every table by its name."""
        return {name: file.value for name, file in self._files.items()}

    def appended(self, table: str, entries: Iterable[NewEntry]) -> TableFile:
        """Return a table's file as it will be with ``entries`` at its end.

        Raises:
            BundleRejectedError: the file does not end in a mapping that entries can be appended to.
        """
        held = self._files[table]
        new = list(entries)
        line_end = b"\r\n" if b"\r\n" in held.content else b"\n"
        text = "\n" + "".join(entry_text(entry.key, entry.fields, entry.remarks) for entry in new)
        separation = b"" if held.content.endswith(b"\n") else line_end
        content = held.content + separation + text.encode().replace(b"\n", line_end)
        return TableFile(held.path, content, self._checked(held, new, content))

    def write(self, files: Iterable[TableFile]) -> None:
        """Put ``files`` in the place of the old ones, in their order; each is there whole or not at all.

        Raises:
            RepositoryUnavailableError: a file cannot be written, or was changed by somebody else meanwhile.
        """
        made: dict[Path, Path] = {}
        try:
            for file in files:
                made[file.path] = _beside(file)
            self._require_unchanged(made)
            for path, beside in made.items():
                beside.replace(path)
        except OSError as error:
            raise RepositoryUnavailableError(
                f"the tables cannot be written: {error}", hint="Check the rights and the room on the disk"
            ) from error
        finally:
            for beside in made.values():
                beside.unlink(missing_ok=True)

    def _checked(self, held: TableFile, new: Iterable[NewEntry], content: bytes) -> JsonValue:
        wanted = {entry.key: dict(entry.fields) for entry in new}
        value: JsonValue = None
        # Whatever is wrong with the whole is the file's own form: it was read, and so was each entry.
        with suppress(BundleRejectedError):
            value = parse_yaml(held.path.name, content)
        if not isinstance(held.value, dict) or value != {**held.value, **wanted}:
            raise BundleRejectedError(
                f"{held.path}: nothing can be appended to it",
                hint="Write it as a block mapping, one entry below the other, that ends with its last entry",
                file=str(held.path),
            )
        return value

    def _require_unchanged(self, paths: Iterable[Path]) -> None:
        before = {file.path: file.content for file in self._files.values()}
        changed = [path for path in paths if path.read_bytes() != before[path]]
        if changed:
            raise RepositoryUnavailableError(
                f"{changed[0]} was changed meanwhile; nothing was written", hint="Run it again"
            )


def read_tools_table(path: Path) -> dict[str, JsonValue]:
    """Return a person's own table of tools.

    Raises:
        InvalidRequestError: it cannot be read.
        BundleRejectedError: it is not a table.
    """
    try:
        value = parse_yaml(path.name, _bounded(path))
    except OSError as error:
        raise InvalidRequestError(
            f"{path} cannot be read: {error.strerror}", hint="Give a YAML file of tools", field="tools"
        ) from error
    if not isinstance(value, dict):
        raise InvalidRequestError(
            f"{path} is not a table of tools",
            hint="Write NAME: {effect: read}, one tool below the other",
            field="tools",
        )
    return value


def _listed(data: Path) -> list[Path]:
    try:
        return list(data.iterdir())
    except OSError:
        return []


def _read(path: Path) -> TableFile:
    try:
        if path.is_symlink() or not path.is_file():
            raise BundleRejectedError(f"{path}: it is not a file", hint="Tables are plain files", file=str(path))
        content = _bounded(path)
    except OSError as error:
        raise BundleRejectedError(
            f"{path}: it cannot be read: {error.strerror}", hint="Check its rights", file=str(path)
        ) from error
    return TableFile(path, content, parse_yaml(path.name, content))


def _bounded(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BundleRejectedError(f"{path}: it is too large for a table", hint="Split it", file=str(path))
    return content


def _beside(file: TableFile) -> Path:
    """Write a file's new content beside it, on the disk before it gets the name."""
    handle, name = tempfile.mkstemp(dir=file.path.parent, prefix=f".{file.path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(file.content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(file.path.stat().st_mode & 0o777)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
