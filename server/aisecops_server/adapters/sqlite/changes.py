"""Changes of state inside the log's transaction: each kind has one table of its own module, registered here.

Owns all-or-nothing for the changes of one entry: they run in a savepoint, and one that is refused takes back those
before it. Only the writer's thread uses it. What a table keeps in memory beside the database it may show to others
only when ``committed`` was called, and must give up when ``forget`` was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import apsw

from aisecops_server.domain.change import Change
from aisecops_server.domain.errors import AisecopsError, IntegrityError


class StateTable(Protocol):
    """One kind of state."""

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change; an error is returned when its condition does not hold."""
        ...

    def committed(self) -> None:
        """Show what the transaction changed."""
        ...

    def forget(self) -> None:
        """Give up what the transaction would have changed."""
        ...


class StateTables:
    """All state that changes together with the log, by the kind of change."""

    def __init__(self, tables: Mapping[str, StateTable]) -> None:
        self._tables = tables

    def apply(self, connection: apsw.Connection, changes: Sequence[Change]) -> AisecopsError | None:
        """Apply ``changes`` in order, or none of them and return why not."""
        if not changes:
            return None
        connection.execute("SAVEPOINT entry")
        refusal = self._apply_all(connection, changes)
        if refusal is not None:
            connection.execute("ROLLBACK TO entry")
        connection.execute("RELEASE entry")
        return refusal

    def committed(self) -> None:
        """Tell every table that its changes are durable."""
        for table in self._tables.values():
            table.committed()

    def forget(self) -> None:
        """Tell every table that nothing of the transaction was stored."""
        for table in self._tables.values():
            table.forget()

    def _apply_all(self, connection: apsw.Connection, changes: Sequence[Change]) -> AisecopsError | None:
        for change in changes:
            table = self._tables.get(change.kind)
            if table is None:
                return IntegrityError(f"this log keeps no state of the kind {change.kind!r}")
            refusal = table.apply(connection, change)
            if refusal is not None:
                return refusal
        return None
