"""The archive: exactly its files, and each of them the one that the manifest names."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

FORMATS = ("aisecops-evidence/1", "aisecops-evidence/2")
MANIFEST, STATEMENT = "manifest.json", "statement.dsse.json"
MOST_BYTES = 1 << 30
MOST_FILES = 200_000

Json = Any

_DECIMAL = re.compile("0|[1-9][0-9]*", re.ASCII)


class EvidenceError(Exception):
    """The package does not verify; the message says where and why."""


@dataclass(frozen=True)
class Trust:
    """What the reader brings along: keys that were had from elsewhere. Empty ones are taken from the package.

    ``evidence_keys`` is the history of the keys that sign packages, as 'aisecops evidence keys' prints it; an empty one
    is none, and refused.
    ``receipts`` are what the log gave for what it recorded; each must be kept by the log of the package.
    """

    log_key: str = ""
    evidence_key: str = ""
    witness_keys: Sequence[str] = ()
    receipts: Sequence[str] = ()
    evidence_keys: str | None = None


@dataclass
class Report:
    """What was checked, in order, and what the reader has to know about it."""

    checks: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_package(package: bytes) -> dict[str, bytes]:
    """Return the files of an archive that is exactly its files: nothing before, between, behind or twice.

    Raises:
        EvidenceError: it is anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            entries = archive.infolist()
            _require_plain(archive, entries, package)
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise EvidenceError(f"the package is no plain zip archive ({error})") from error


def _require_plain(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], package: bytes) -> None:
    if archive.comment or len(entries) > MOST_FILES:
        raise EvidenceError("the archive has a comment or too many files")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise EvidenceError("the archive is too large")
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise EvidenceError("a file stands in the archive twice")
    at = 0
    for entry in entries:
        parts = entry.filename.split("/")
        plain = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
        if not plain or entry.flag_bits & ~0x800 or entry.extra or entry.comment:
            raise EvidenceError(f"{entry.filename!r} is not stored plainly")
        if any(part in {"", ".", ".."} for part in parts) or "\\" in entry.filename or ":" in entry.filename:
            raise EvidenceError(f"{entry.filename!r} is no name that a package has")
        if entry.header_offset != at:
            raise EvidenceError(f"something stands before {entry.filename!r}")
        at += 30 + len(entry.filename.encode()) + entry.file_size
    # The directory follows at once, and behind its 22 bytes of ending is nothing.
    directory = sum(46 + len(name.encode()) for name in names)
    if archive.start_dir != at or len(package) != at + directory + 22:
        raise EvidenceError("something stands between or behind the files")


def manifest_of(files: Mapping[str, bytes]) -> dict[str, Json]:
    """Return the manifest, which names every other file and its digest.

    Raises:
        EvidenceError: it does not, or is of no format that is known.
    """
    manifest = json_in(files, MANIFEST)
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") not in FORMATS
        or not isinstance(manifest.get("files"), dict)
    ):
        raise EvidenceError(f"the manifest is of none of the formats {', '.join(FORMATS)}")
    listed = cast("dict[str, str]", manifest["files"])
    if set(listed) != set(files) - {MANIFEST, STATEMENT}:
        odd = sorted(set(listed) ^ (set(files) - {MANIFEST, STATEMENT}))
        raise EvidenceError(f"the manifest and the archive differ: {odd[0]}")
    for name, wanted in listed.items():
        if sha256(files[name]) != wanted:
            raise EvidenceError(f"{name} is not the file that the manifest names")
    return manifest


def file_in(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a file that a package must have."""
    if name not in files:
        raise EvidenceError(f"the package has no {name}")
    return files[name]


def json_in(files: Mapping[str, bytes], name: str) -> Json:
    """Return the content of a JSON file that a package must have."""
    return parsed(file_in(files, name), name)


def parsed(data: bytes, what: str) -> Json:
    """Return what JSON says, in which no key stands twice."""
    try:
        return json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{what} is not JSON") from error


def whole(value: Json) -> int:
    """Return a place or a size of a log as JSON has it; one that is written otherwise is none.

    Raises:
        ValueError: it is a text, a fraction, a truth value or negative.
    """
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value


def decimal(text: str) -> int:
    """Return a place or a size of a log as its notes have it.

    Raises:
        ValueError: it is written otherwise than in digits alone, without a leading zero.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def sha256(data: bytes) -> str:
    """Return the lower-case hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()
