"""The books as a replica sees them: its own commits at once, those of other replicas a fraction of a second later.

What a decision is told of its usage may be that old; what it takes is checked at the commit, where nobody else appends.
Ordering rule: what was read is kept only when nothing was dropped since before it was read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import apsw

from aisecops_server.adapters.sqlite.budget_rows import Heads, heads_of, states_of
from aisecops_server.adapters.sqlite.budget_table import MOST_OWNERS, BudgetMirror, BudgetTable
from aisecops_server.adapters.sqlite.budgets import SqliteBudgets
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.domain.budgets.budget import BudgetState
from aisecops_server.domain.errors import AisecopsError
from aisecops_server.domain.events.change import Change

# How old what a decision is told of its budgets may be: what another replica changed since is found at the commit.
OLDEST_SECONDS = 0.2


class RecentBudgets:
    """The budgets of owners that were read or changed here since the log was last seen to grow."""

    def __init__(self) -> None:
        self._mirror = BudgetMirror({}, complete=False)
        self._since = time.monotonic()

    @property
    def mirror(self) -> BudgetMirror:
        """Return what is believed now; another one after every ``drop``."""
        return self._mirror

    def drop(self) -> None:
        """Believe nothing any more."""
        self._mirror = BudgetMirror({}, complete=False)
        self._since = time.monotonic()

    def drop_old(self) -> None:
        """Believe nothing any more that may be older than what is told of budgets may be."""
        if time.monotonic() - self._since > OLDEST_SECONDS:
            self.drop()


class PostgresBudgetTable(BudgetTable):
    """The books inside a replica's commit, which tells ``recent`` what it changed."""

    def __init__(self, connection: apsw.Connection, recent: RecentBudgets, *, most_owners: int = MOST_OWNERS) -> None:
        super().__init__(connection, most_owners=most_owners)
        self._recent = recent

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change; who is refused finds out why from the database."""
        refusal = super().apply(connection, change)
        if refusal is not None:
            self._recent.drop()
        return refusal

    def committed(self) -> None:
        """Show what the transaction changed."""
        changed: Mapping[str, Heads] = self.touched()
        super().committed()
        self._recent.mirror.show(changed)

    def reread(self) -> None:
        """Take every budget from the database, which another process changed.

        What a decision is told may be a moment older: at every commit of another replica it would be read for each.
        """
        super().reread()
        self._recent.drop_old()


class PostgresBudgets(SqliteBudgets):
    """Implements ``BudgetLedger`` for a replica."""

    def __init__(self, readers: Readers, recent: RecentBudgets) -> None:
        super().__init__(readers, None)
        self._recent = recent

    async def standing(self, owners: Sequence[str], *, now_seconds: int) -> list[BudgetState]:
        """Return how every budget of some owners stands, or stood a moment ago."""
        mirror = self._recent.mirror
        known = mirror.states(owners, now_seconds)
        if known is not None:
            return known
        found = await self._readers.run(partial(heads_of, owners=owners))
        # Shown in what was believed before the question: if that was dropped meanwhile, nobody looks at it.
        mirror.show(found)
        states = BudgetMirror(found, complete=False).states(owners, now_seconds)
        if states is not None:
            return states
        return await self._readers.run(partial(states_of, owners=owners, now=now_seconds))
