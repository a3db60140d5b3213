"""What a backup says of itself: when it was made, what log it holds up to where, and every file with its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aisecops_server.domain.errors import IntegrityError, InvalidPlanError
from aisecops_server.domain.formats.canonical import canonical_bytes
from aisecops_server.domain.formats.strict_json import parse_object
from aisecops_server.domain.log.record import LogHead

MANIFEST = "backup.json"
# A folder of a state directory in which it is restored; while it is there, nothing is served.
RESTORING = ".restoring"
_FORMAT = 1
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup of one state directory. ``files`` maps paths in it to SHA-256 in hexadecimal."""

    made_at_seconds: int
    made_by: str
    log_id: str
    head: LogHead
    files: Mapping[str, str]

    def written(self) -> bytes:
        """Return the manifest, in canonical JSON."""
        return canonical_bytes(
            {
                "format": _FORMAT,
                "made_at_seconds": self.made_at_seconds,
                "made_by": self.made_by,
                "log": {"id": self.log_id, "size": self.head.size, "root": self.head.root.hex()},
                "files": dict(self.files),
            }
        )


def read_backup(content: bytes) -> Backup:
    """Return what a manifest says.

    Raises:
        IntegrityError: it is none, or of a format that this version does not know.
    """
    try:
        found = parse_object(content, field="backup", limit=_MOST_BYTES)
        log = found["log"]
        if found["format"] != _FORMAT or not isinstance(log, dict) or not isinstance(found["files"], dict):
            raise _no_backup()
        return Backup(
            made_at_seconds=int(str(found["made_at_seconds"])),
            made_by=str(found["made_by"]),
            log_id=str(log["id"]),
            head=LogHead(int(str(log["size"])), bytes.fromhex(str(log["root"]))),
            files={path: str(digest) for path, digest in found["files"].items()},
        )
    except (InvalidPlanError, KeyError, ValueError) as error:
        raise _no_backup() from error


def _no_backup() -> IntegrityError:
    return IntegrityError(
        f"{MANIFEST} is not the manifest of a backup that this version reads",
        hint="Name the folder that 'aisecops backup make' wrote, as it wrote it",
    )
