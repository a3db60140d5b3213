"""The audit log in PostgreSQL: ``EventLog`` and ``ProvenLog`` for many control planes on one database.

The tables, and what reads and changes them, are those of the embedded store. What differs is who may append (everybody,
one after the other), what may be believed from memory (nothing that another replica can change) and what is done when
the storage is away (refuse until it is back).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aisecops_server.adapters.postgres import server
from aisecops_server.adapters.postgres.budgets import PostgresBudgets, PostgresBudgetTable, RecentBudgets
from aisecops_server.adapters.postgres.connection import SHORT, PostgresConnection
from aisecops_server.adapters.postgres.place import Place
from aisecops_server.adapters.postgres.readers import SERVER, PostgresReaders, as_embedded
from aisecops_server.adapters.postgres.rollout_table import RolloutTable
from aisecops_server.adapters.postgres.writer import PostgresWriter, Watch
from aisecops_server.adapters.sqlite.approval_table import ApprovalTable
from aisecops_server.adapters.sqlite.changes import StateTable, StateTables
from aisecops_server.adapters.sqlite.database import translated
from aisecops_server.adapters.sqlite.edge_table import EdgeTable
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.adapters.sqlite.grant_table import GrantTable
from aisecops_server.adapters.sqlite.keeping_table import KeepingTable
from aisecops_server.adapters.sqlite.key_table import KeyTable
from aisecops_server.adapters.sqlite.notice_table import NoticeTable
from aisecops_server.adapters.sqlite.trace_filling import fill
from aisecops_server.adapters.sqlite.verification import startup_problem
from aisecops_server.domain.approvals import approval_changes, notice
from aisecops_server.domain.budgets import budget_changes
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.grants import grant_changes
from aisecops_server.domain.log import edge_log, key_rotation
from aisecops_server.domain.retention import keeping
from aisecops_server.domain.rollouts import rollout_changes


class PostgresKeeping(KeepingTable):
    """What is kept, on a server: what is erased is deleted, and when its bytes go is the server's business."""

    @property
    def is_overwritten(self) -> bool:
        """Return ``False``: the server's own log and its backups may still hold what was erased."""
        return False

    def committed(self) -> None:
        """Nothing can be emptied from here."""


class PostgresEventLog(SqliteEventLog):
    """A replica's view of the shared log."""

    def __init__(
        self,
        readers: PostgresReaders,
        writer: PostgresWriter | None,
        *,
        approvals: ApprovalTable,
        recent: RecentBudgets | None = None,
        kept: KeepingTable | None = None,
    ) -> None:
        super().__init__(readers, writer, None, approvals=approvals, kept=kept)
        if recent:
            self.budgets = PostgresBudgets(readers, recent)


def open_log(where: Place | str) -> PostgresEventLog:
    """Open the log in the database at ``where`` to append to it, beside whoever else does.

    Raises:
        LogUnavailableError: the server is away, is set up so that it could lose or give away what it holds, or has no
            schema, or another one.
    """
    with translated("connecting to the database", SERVER):
        connection = PostgresConnection(where, patience=SHORT, keeps_plans=True)
    try:
        with translated("reading the database", SERVER):
            server.require_sound(connection)
            problem = _problem(where)
            if not problem:
                _fill(where)
            approvals, recent = ApprovalTable(), RecentBudgets()
            tables: dict[str, StateTable] = {
                approval_changes.KIND: approvals,
                grant_changes.KIND: GrantTable(),
                notice.KIND: NoticeTable(),
                edge_log.KIND: EdgeTable(),
                key_rotation.KIND: KeyTable(),
                budget_changes.KIND: PostgresBudgetTable(as_embedded(connection), recent),
                rollout_changes.KIND: RolloutTable(),
                keeping.KIND: (kept := PostgresKeeping(as_embedded(connection))),
            }
    except BaseException:
        connection.close()
        raise
    sealed = f"{IntegrityError.reason}: {problem}" if problem else ""
    writer = PostgresWriter(
        connection, StateTables(tables), watch=Watch(where, recent.drop, approvals.wake_all), sealed=sealed
    )
    return PostgresEventLog(PostgresReaders(where), writer, approvals=approvals, recent=recent, kept=kept)


def open_log_read_only(where: Place | str) -> PostgresEventLog:
    """Open the log in the database at ``where`` for reading.

    Raises:
        LogUnavailableError: the server is away, or there is no log.
    """
    with (
        translated("reading the database", SERVER),
        contextlib.closing(PostgresConnection(where, is_reader=True)) as one,
    ):
        server.require_schema(one)
    return PostgresEventLog(PostgresReaders(where), None, approvals=ApprovalTable())


def _fill(where: Place | str) -> None:
    """Fill what programs of before did not write. The head is held only while a block of it is written."""
    with contextlib.closing(PostgresConnection(where)) as connection:
        fill(as_embedded(connection), lambda: _holding_the_head(connection))


@contextlib.contextmanager
def _holding_the_head(connection: PostgresConnection) -> Iterator[None]:
    with connection:
        connection.execute("SELECT size FROM log_head FOR UPDATE").get  # noqa: B018 - held until the end
        yield


def _problem(where: Place | str) -> str:
    # On one snapshot: others append meanwhile.
    with contextlib.closing(PostgresConnection(where, is_reader=True)) as connection, connection:
        return startup_problem(as_embedded(connection))
