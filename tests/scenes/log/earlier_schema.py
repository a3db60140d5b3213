"""A log as it was before one of its migrations: what that one made, and those behind it, is taken away again."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
from aisecops_server.adapters.sqlite import schema

_MADE = re.compile(r"CREATE (TABLE|INDEX|TRIGGER) (\w+)")


def take_back_migrations_from(path: Path, table: str) -> None:
    """Take away of the log at ``path`` what was made by the migration that made ``table``, and by every later one."""
    version = next(at for at, script in enumerate(schema.MIGRATIONS, 1) if f"CREATE TABLE {table} " in script)
    made = [found for script in schema.MIGRATIONS[version - 1 :] for found in _MADE.findall(script)]
    connection = apsw.Connection(str(path))
    # An index of a table goes with it.
    connection.execute("".join(f"DROP {kind} IF EXISTS {name};" for kind, name in reversed(made)))
    connection.execute("DELETE FROM migration WHERE version >= ?", (version,))
    connection.close()
