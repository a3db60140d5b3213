"""Opening SQLite the only way the control plane does: checked version, WAL, full synchronisation, one owner.

Owns connections, migrations and the lock that keeps a second process out. Foreign exceptions stop here:
``translated`` turns what SQLite and the operating system raise into the errors of the domain.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import apsw

from aisecops_server.domain.errors import IntegrityError, LogUnavailableError

# Up to 3.51.2 a race in resetting the write-ahead log can lose committed transactions.
FIRST_SOUND_SQLITE = (3, 51, 3)

_BUSY_MILLISECONDS = 5000
DISK = "Check the disk that holds the state directory"
_OTHER_VERSION = (
    "Another version wrote it. Start the control plane of this version on it, which brings it up to date, or read it "
    "with the version that wrote it"
)
# Text that is no UTF-8 and lists that are no JSON were not written by us.
_DAMAGED = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError, json.JSONDecodeError)


def sqlite_version() -> str:
    """Return the version of the SQLite library that is in use."""
    return apsw.sqlite_lib_version()


def require_sound_sqlite(version: str) -> None:
    """Refuse an SQLite library that is known to lose committed data.

    Raises:
        LogUnavailableError: it is older than the first sound one.
    """
    if tuple(map(int, version.split("."))) < FIRST_SOUND_SQLITE:
        wanted = ".".join(map(str, FIRST_SOUND_SQLITE))
        raise LogUnavailableError(
            f"SQLite {version} can lose committed data",
            hint=f"Install an 'apsw' that carries SQLite {wanted} or newer",
        )


@contextlib.contextmanager
def translated(doing: str, check: str = DISK) -> Iterator[None]:
    """Turn what the database and the system raise into errors of the domain; ``check`` says what to do.

    Raises:
        IntegrityError: the database file is damaged.
        LogUnavailableError: anything else went wrong.
    """
    try:
        yield
    except _DAMAGED as error:
        raise IntegrityError(
            f"the database is damaged ({doing}: {error})",
            hint="Keep the file as evidence, restore a backup beside it, and compare both with 'aisecops log verify'",
        ) from error
    except (apsw.Error, OSError, MemoryError) as error:
        hint = _OTHER_VERSION if isinstance(error, apsw.SQLError) and "no such " in str(error) else check
        raise LogUnavailableError(f"the database failed while {doing} ({error})", hint=hint) from error


def open_for_writing(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Return a connection whose commits are on durable storage when they return.

    Raises:
        IntegrityError: the file is damaged or is no database.
        LogUnavailableError: it cannot be opened, or SQLite is not sound.
    """
    require_sound_sqlite(apsw.sqlite_lib_version())
    with translated("opening it"):
        _create_private(path)
        connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=200)
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        # What is erased is overwritten, not only let go of.
        connection.pragma("secure_delete", value=True)
        connection.pragma("foreign_keys", value=False)
        connection.pragma("trusted_schema", value=False)
        connection.pragma("cell_size_check", value=True)
        # A checkpoint every 16 MiB keeps its cost away from most commits, and a restart quick.
        connection.wal_autocheckpoint(4096)
        connection.pragma("journal_size_limit", 32 * 1024 * 1024)
        connection.pragma("cache_size", -16 * 1024)
    return connection


def open_for_reading(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Return a connection that cannot write.

    Raises:
        IntegrityError: the file is damaged or is no database.
        LogUnavailableError: it cannot be opened.
    """
    with translated("opening it for reading"):
        connection = apsw.Connection(str(path), vfs=vfs, flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        connection.pragma("query_only", value=True)
        connection.pragma("trusted_schema", value=False)
        connection.pragma("cell_size_check", value=True)
        connection.pragma("cache_size", -8 * 1024)
    return connection


def migrate(connection: apsw.Connection, migrations: Sequence[str], *, application_id: int) -> None:
    """Bring the schema up to date, all or nothing.

    Raises:
        LogUnavailableError: the file belongs to another application or to a newer version of this one.
    """
    with translated("updating its schema"), connection:
        version = _version(connection, application_id)
        if version > len(migrations):
            raise LogUnavailableError(
                f"the database has schema version {version}, this program knows {len(migrations)}",
                hint="Start the version of AISecOps that wrote it, or a newer one",
            )
        if version == len(migrations):
            # Nothing is written, so that a log on a full disk opens and can be read.
            return
        for number, script in enumerate(migrations[version:], version + 1):
            connection.execute(script)
            connection.execute("INSERT INTO migration VALUES (?)", (number,))
        connection.pragma("application_id", application_id)


def lock(path: Path) -> BinaryIO:
    """Take the lock file beside ``path`` and return it open; closing it, or dying, gives the lock back.

    Raises:
        LogUnavailableError: another process holds it.
    """
    with translated("locking it"):
        file = Path(f"{path}.lock").open("a+b")  # noqa: SIM115 - stays open for as long as the lock is held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read(20).decode("ascii", "replace").strip() or "unknown"
        file.close()
        raise LogUnavailableError(
            f"another process (pid {owner}) writes {path}",
            hint="Stop it first, or give this one a state directory of its own",
        ) from error
    with translated("locking it"):
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
    return file


def free_bytes(path: Path) -> int:
    """Return the space that is left where ``path`` lives."""
    facts = os.statvfs(path.parent)
    return facts.f_bavail * facts.f_frsize


def _create_private(path: Path) -> None:
    # SQLite gives its companion files the mode of the database, so the mode is settled before it opens.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _version(connection: apsw.Connection, application_id: int) -> int:
    found = connection.pragma("application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if found not in (0, application_id) or (found == 0 and tables):
        raise LogUnavailableError(
            "the file is the database of another application", hint="Give the state directory another path"
        )
    if not tables:
        return 0
    return int(connection.execute("SELECT max(version) FROM migration").get)
