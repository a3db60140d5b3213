"""Changes of state inside the log's transaction: each kind has one table of its own module, registered here.

Owns all-or-nothing for the changes of one entry: they run in a savepoint, and one that is refused takes back those
before it. Only the writer's thread uses it. What a table keeps in memory beside the database it may show to others
only when ``committed`` was called, and must give up when ``forget`` was.

A table that many entries of one commit change is *staged*: it holds changes in memory, takes back what a refused entry
changed there, and writes once before the commit. What it does not hold is applied at once, after what it held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import apsw

from aisecops_server.domain.errors import AisecopsError, IntegrityError
from aisecops_server.domain.events.change import Change


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


@runtime_checkable
class StagedTable(StateTable, Protocol):
    """One kind of state that is changed in memory first."""

    def holds(self, change: Change) -> bool:
        """Return whether a change is held in memory until ``store``."""
        ...

    def settle(self, connection: apsw.Connection) -> None:
        """Write what is held and what a change that is not held may read."""
        ...

    def begin(self) -> None:
        """Begin with the changes of another entry."""
        ...

    def undo(self) -> None:
        """Take back what was changed since ``begin``."""
        ...

    def store(self, connection: apsw.Connection) -> None:
        """Write what the transaction changed."""
        ...

    def reread(self) -> None:
        """Believe nothing in memory any more: another process changed the database."""
        ...


class StateTables:
    """All state that changes together with the log, by the kind of change."""

    def __init__(self, tables: Mapping[str, StateTable]) -> None:
        self._tables = tables
        self._staged = [table for table in tables.values() if isinstance(table, StagedTable)]

    def apply(self, connection: apsw.Connection, changes: Sequence[Change]) -> AisecopsError | None:
        """Apply ``changes`` in order, or none of them and return why not."""
        if not changes:
            return None
        for staged in self._staged:
            staged.begin()
        # What is only held has nothing in the database to take back.
        held = all(map(self._is_held, changes))
        refusal = self._apply_all(connection, changes) if held else self._apply_in_savepoint(connection, changes)
        if refusal is not None:
            for staged in self._staged:
                staged.undo()
        return refusal

    def reread(self) -> None:
        """Tell every table that another process changed the database."""
        for staged in self._staged:
            staged.reread()

    def store(self, connection: apsw.Connection) -> None:
        """Write what is staged; nothing is applied after it."""
        for staged in self._staged:
            staged.store(connection)

    def committed(self) -> None:
        """Tell every table that its changes are durable."""
        for table in self._tables.values():
            table.committed()

    def forget(self) -> None:
        """Tell every table that nothing of the transaction was stored."""
        for table in self._tables.values():
            table.forget()

    def _is_held(self, change: Change) -> bool:
        table = self._tables.get(change.kind)
        return isinstance(table, StagedTable) and table.holds(change)

    def _settle(self, connection: apsw.Connection) -> None:
        for staged in self._staged:
            staged.settle(connection)

    def _apply_in_savepoint(self, connection: apsw.Connection, changes: Sequence[Change]) -> AisecopsError | None:
        self._settle(connection)
        connection.execute("SAVEPOINT entry")
        refusal = self._apply_all(connection, changes)
        if refusal is not None:
            connection.execute("ROLLBACK TO entry")
        connection.execute("RELEASE entry")
        return refusal

    def _apply_all(self, connection: apsw.Connection, changes: Sequence[Change]) -> AisecopsError | None:
        for change in changes:
            table = self._tables.get(change.kind)
            if table is None:
                return IntegrityError(f"this log keeps no state of the kind {change.kind!r}")
            if not self._is_held(change):
                self._settle(connection)
            refusal = table.apply(connection, change)
            if refusal is not None:
                return refusal
        return None
