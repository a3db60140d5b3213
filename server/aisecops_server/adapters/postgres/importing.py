"""Moves a log from its file into an empty database: every row as it is, under the head that it had.

Nothing is changed in the file, which nobody may write meanwhile. All of it is one transaction: a database holds a
whole log or none. Who imports verifies the log afterwards, which reads every leaf anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import apsw

from aisecops_server.adapters.postgres import server
from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.dialect import quoted
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.postgres.readers import SERVER
from aisecops_server.adapters.sqlite import database
from aisecops_server.adapters.sqlite.database import translated
from aisecops_server.adapters.sqlite.schema import MIGRATIONS
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.errors import InvalidRequestError, LogUnavailableError

_OWN = {"migration", "activation", "log_head"}
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
_ROWS_AT_ONCE = 500
_NEXT_TERM = """
    SELECT setval(pg_get_serial_sequence('term', 'id'), coalesce((SELECT max(id) FROM term), 0) + 1, false)"""

Told = Callable[[int, int], None]


def import_log(path: Path, where: Place | str, told: Told) -> int:
    """Copy the log at ``path`` into the empty one at ``where`` and return how many events it has.

    ``told`` is called with how many rows of how many are there.

    Raises:
        InvalidRequestError: the log in the database is not empty.
        LogUnavailableError: there is no log, somebody writes it, another version of the program did, or the database
            cannot be used.
        IntegrityError: the file is damaged.
    """
    if not path.is_file():
        raise LogUnavailableError(f"there is no log at {path}", hint="Name its state directory with --state-dir")
    with database.lock(path), contextlib.closing(database.open_for_reading(path)) as source:
        with translated("reading the log"):
            _require_this_version(source)
        with translated("connecting to the database", SERVER):
            target = PostgresConnection(where)
        with contextlib.closing(target), translated("writing into the database", SERVER):
            server.require_sound(target)
            with target:
                return _copied(source, target, told)


def _require_this_version(source: apsw.Connection) -> None:
    found = source.execute("SELECT max(version) FROM migration").get
    if found != len(MIGRATIONS):
        raise LogUnavailableError(
            f"the log has schema version {found}, this program imports version {len(MIGRATIONS)}",
            hint="Start a control plane of this version on it once, and stop it",
        )


def _copied(source: apsw.Connection, target: PostgresConnection, told: Told) -> int:
    if target.execute("SELECT size FROM log_head FOR UPDATE").get:
        raise InvalidRequestError("the database holds a log already", hint="Import into an empty one", field="database")
    tables = [name for (name,) in source.execute(_TABLES) if name not in _OWN]
    total = sum(source.execute(f"SELECT count(*) FROM {name}").get for name in tables)  # noqa: S608 - names of the schema
    done = 0
    for table in tables:
        for rows in _parts(source, table, target.columns(table)):
            target.insert_rows(f"INSERT INTO {table}", rows, "")
            done += len(rows)
            told(done, total)
    target.execute(
        "SELECT setval(pg_get_serial_sequence('term', 'id'), coalesce((SELECT max(id) FROM term), 0) + 1, false)"
    )
    log_id, size, peaks = source.execute("SELECT log_id, size, peaks FROM log_head").get
    target.execute("UPDATE log_head SET log_id = ?, size = ?, peaks = ?", (log_id, size, peaks))
    return int(size)


def _parts(source: apsw.Connection, table: str, columns: tuple[str, ...]) -> Iterator[list[Row]]:
    listed = ", ".join(map(quoted, columns))
    found = source.execute(f"SELECT {listed} FROM {table}")  # noqa: S608 - names of the schema
    while rows := list(islice(found, _ROWS_AT_ONCE)):
        yield rows
