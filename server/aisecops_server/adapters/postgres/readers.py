"""Connections to PostgreSQL that cannot write, and the few threads that use them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import apsw

from aisecops_server.adapters.postgres.connection import READING, PostgresConnection
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.sqlite.database import translated
from aisecops_server.adapters.sqlite.readers import Helpers, Readers

SERVER = "Check the database server: 'aisecops db status' says what is wrong"


class PostgresReaders(Readers):
    """Runs queries, each on one consistent snapshot of the log at ``where``."""

    check = SERVER

    def __init__(self, where: Place | str) -> None:
        super().__init__(Path())
        self._where = where

    def helpers(self, *, niceness: int) -> Helpers:
        """Return nobody: the server's work is not made quicker by more who read what it sends."""
        return Helpers(self._path, 0, niceness)

    def opened(self) -> apsw.Connection:
        """Return a connection of its own, that cannot write."""
        with translated("connecting to the database", SERVER):
            return as_embedded(PostgresConnection(self._where, is_reader=True))

    def kept(self) -> apsw.Connection:
        """Return a connection that cannot write, and is taken for dead soon: decisions may wait behind it."""
        with translated("connecting to the database", SERVER):
            return as_embedded(PostgresConnection(self._where, is_reader=True, patience=READING))


def as_embedded(connection: PostgresConnection) -> apsw.Connection:
    """Return the connection for what is written for the embedded store: it uses no more than both have."""
    return cast("apsw.Connection", connection)
