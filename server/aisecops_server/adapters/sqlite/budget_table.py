"""Budgets as state beside the log: counted in memory, written once for all entries of a commit.

The writer's thread alone changes ``BudgetTable``. ``BudgetMirror`` is what everybody else sees, so that a decision is
told its usage without a query: only what is durable, of the owners whose budgets were used last. Ordering rule: an
owner leaves the mirror only after the mirror said that it is not complete.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apsw

from aisecops_server.adapters.sqlite.budget_rows import (
    Head,
    Heads,
    adjustment_of,
    all_heads,
    counter_of,
    heads_of,
    reservation_of,
    reservation_row,
)
from aisecops_server.adapters.sqlite.statements import insert
from aisecops_server.domain.budgets.budget import Budget, BudgetState, Counter
from aisecops_server.domain.budgets.budget_changes import Adjust, Reserve, Settle, details_of
from aisecops_server.domain.budgets.ledger import apply
from aisecops_server.domain.budgets.reservation import Reservation
from aisecops_server.domain.errors import AisecopsError, IntegrityError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.formats.canonical import canonical_bytes

# Some kilobytes each: agents, teams and tools are few, but every session is an owner.
MOST_OWNERS = 50_000

_KEEP_BUDGETS = """
    ON CONFLICT (number) DO UPDATE
    SET limit_amount = excluded.limit_amount, frozen = excluded.frozen, latest = excluded.latest"""
_KEEP_PERIODS = """
    ON CONFLICT (budget, started_at) DO UPDATE
    SET used = excluded.used, reserved = excluded.reserved, overrun = excluded.overrun"""
_HIGHEST = "SELECT ifnull(max(number), 0) FROM budget"
_KEEP_RESERVATIONS = "ON CONFLICT (decision_id) DO UPDATE SET state = excluded.state, body = excluded.body"


class BudgetMirror:
    """The newest period of every budget of the owners that it holds."""

    def __init__(self, owners: Mapping[str, Heads], *, complete: bool, most_owners: int = MOST_OWNERS) -> None:
        self._owners = OrderedDict(owners)
        self._complete = complete
        self._most = most_owners

    def heads(self, owner: str) -> Heads | None:
        """Return the budgets of an owner, or ``None`` when only the database knows."""
        found = self._owners.get(owner)
        if found is None and self._complete:
            return {}
        return found

    def states(self, owners: Sequence[str], now: int) -> list[BudgetState] | None:
        """Return how the budgets of some owners stand, or ``None`` when only the database knows."""
        states = []
        for owner in owners:
            heads = self.heads(owner)
            if heads is None:
                return None
            for budget, head in heads.items():
                period = budget.window.started_at(now)
                if period < head.period:
                    return None
                counter = head.counter if period == head.period else Counter()
                states.append(BudgetState(budget, period, counter, head.limit, head.frozen))
        return states

    def show(self, changed: Mapping[str, Heads]) -> None:
        """Show what is durable now."""
        for owner, heads in changed.items():
            self._owners[owner] = heads
            self._owners.move_to_end(owner)
        while len(self._owners) > self._most:
            self._complete = False
            self._owners.popitem(last=False)


@dataclass(slots=True)
class _Staged:
    """What a transaction changed and has not written, and how to take back what the current entry changed."""

    owners: dict[str, dict[Budget, Head]] = field(default_factory=dict)
    past: dict[tuple[Budget, int], Counter] = field(default_factory=dict)
    opened: dict[str, Reservation] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    adjustments: dict[str, Adjust] = field(default_factory=dict)
    periods: dict[tuple[Budget, int], int] = field(default_factory=dict)
    takebacks: list[Callable[[], object]] = field(default_factory=list)

    def set(self, into: dict[Any, Any], key: object, value: object) -> None:
        """Set ``into[key]`` so that it can be taken back."""
        if key in into:
            before = into[key]
            self.takebacks.append(lambda: into.__setitem__(key, before))
        else:
            self.takebacks.append(lambda: into.pop(key))
        into[key] = value


class BudgetTable:
    """Implements ``StagedTable`` for the changes of budgets, and ``Books`` for the rules of the ledger."""

    def __init__(self, connection: apsw.Connection, *, most_owners: int = MOST_OWNERS) -> None:
        self._connection = connection
        self._most_owners = most_owners
        owners, complete = all_heads(connection, most_owners=most_owners)
        self.mirror = BudgetMirror(owners, complete=complete, most_owners=most_owners)
        # The highest number that is taken; unknown until a new budget needs one.
        self._numbered: int | None = None
        self._next: int | None = None
        self._staged = _Staged()

    def holds(self, change: Change) -> bool:
        """Return ``True``: every change of a budget is counted in memory."""
        del change
        return True

    def settle(self, connection: apsw.Connection) -> None:
        """Write nothing: what is read of budgets inside a commit is read from here."""

    def begin(self) -> None:
        """Begin with the changes of another entry."""
        self._staged.takebacks.clear()

    def undo(self) -> None:
        """Take back what was changed since ``begin``."""
        while self._staged.takebacks:
            self._staged.takebacks.pop()()

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        """Check and apply one change."""
        del connection
        if not isinstance(change, Reserve | Settle | Adjust):
            return IntegrityError("this is no change of a budget")
        return apply(self, change)

    def store(self, connection: apsw.Connection) -> None:
        """Write what the transaction changed."""
        staged = self._staged
        if staged.periods:
            if rows := self._budget_rows():
                insert(connection, "INSERT INTO budget", rows, _KEEP_BUDGETS)
            insert(connection, "INSERT INTO budget_period", self._period_rows(), _KEEP_PERIODS)
        if staged.opened:
            opened = [staged.reservations[decision] for decision in staged.opened]
            insert(connection, "INSERT INTO reservation", [reservation_row(item) for item in opened])
        kept = [item for decision, item in staged.reservations.items() if decision not in staged.opened]
        if kept:
            insert(connection, "INSERT INTO reservation", [reservation_row(item) for item in kept], _KEEP_RESERVATIONS)
        if staged.adjustments:
            made = [(request, canonical_bytes(details_of(item))) for request, item in staged.adjustments.items()]
            insert(connection, "INSERT INTO budget_adjustment", made)

    def committed(self) -> None:
        """Show what the transaction changed."""
        self.mirror.show(self.touched())
        self._numbered = self._next
        self._staged = _Staged()

    def touched(self) -> dict[str, Heads]:
        """Return the budgets of every owner of whom the transaction changed one."""
        return {owner: self._staged.owners[owner] for owner in {budget.owner for budget, _ in self._staged.periods}}

    def forget(self) -> None:
        """Give up what the transaction would have changed."""
        self._next = self._numbered
        self._staged = _Staged()

    def reread(self) -> None:
        """Take every budget from the database, which another process changed."""
        self.mirror = BudgetMirror({}, complete=False, most_owners=self._most_owners)
        self._numbered = self._next = None

    def standing(self, budget: Budget, period: int) -> BudgetState | None:
        """Return a budget as it stands in a period."""
        head = self._heads(budget.owner).get(budget)
        if head is None:
            return None
        if period >= head.period:
            counter = head.counter if period == head.period else Counter()
        else:
            counter = self._past(budget, head, period)
        return BudgetState(budget, period, counter, head.limit, head.frozen)

    def put(self, state: BudgetState) -> None:
        """Keep how a budget stands."""
        budget, staged = state.budget, self._staged
        heads = self._heads(budget.owner)
        head = heads.get(budget)
        if head is None:
            head = Head(self._number(), state.limit, state.frozen, state.period, state.counter)
        elif state.period < head.period:
            staged.set(staged.past, (budget, state.period), state.counter)
            head = replace(head, limit=state.limit, frozen=state.frozen)
        else:
            if state.period > head.period:
                staged.set(staged.past, (budget, head.period), head.counter)
            head = Head(head.number, state.limit, state.frozen, state.period, state.counter)
        staged.set(staged.owners, budget.owner, {**heads, budget: head})
        staged.set(staged.periods, (budget, state.period), head.number)

    def open(self, reservation: Reservation) -> bool:
        """Keep a new reservation; that its decision has none in the database is checked when it is written."""
        if reservation.decision_id in self._staged.reservations:
            return False
        self._staged.set(self._staged.opened, reservation.decision_id, reservation)
        self.keep(reservation)
        return True

    def reservation(self, decision_id: str) -> Reservation | None:
        """Return what a decision reserved."""
        return self._staged.reservations.get(decision_id) or reservation_of(self._connection, decision_id)

    def keep(self, reservation: Reservation) -> None:
        """Keep a reservation as it is now."""
        self._staged.set(self._staged.reservations, reservation.decision_id, reservation)

    def adjustment(self, request_id: str) -> Adjust | None:
        """Return the adjustment that was made for a request."""
        return self._staged.adjustments.get(request_id) or adjustment_of(self._connection, request_id)

    def note(self, adjustment: Adjust) -> None:
        """Remember that an adjustment was made."""
        self._staged.set(self._staged.adjustments, adjustment.request_id, adjustment)

    def _number(self) -> int:
        if self._next is None:
            self._next = int(self._connection.execute(_HIGHEST).get)
        self._next += 1
        return self._next

    def _heads(self, owner: str) -> Heads:
        staged = self._staged.owners.get(owner)
        if staged is not None:
            return staged
        shown = self.mirror.heads(owner)
        if shown is not None:
            return shown
        return self._staged.owners.setdefault(owner, heads_of(self._connection, [owner])[owner])

    def _past(self, budget: Budget, head: Head, period: int) -> Counter:
        found = self._staged.past.get((budget, period))
        return found if found is not None else counter_of(self._connection, head.number, period)

    def _budget_rows(self) -> list[tuple[int, str, str, str, int, int, int]]:
        rows = []
        for budget in {budget for budget, _ in self._staged.periods}:
            head = self._staged.owners[budget.owner][budget]
            before = (self.mirror.heads(budget.owner) or {}).get(budget)
            if before is None or replace(before, counter=head.counter) != head:
                rows.append(_budget_row(budget, head))
        return rows

    def _period_rows(self) -> list[tuple[int, int, int, int, int]]:
        staged, rows = self._staged, []
        for (budget, period), number in staged.periods.items():
            head = staged.owners[budget.owner][budget]
            counter = head.counter if period == head.period else staged.past[budget, period]
            rows.append((number, period, counter.used, counter.reserved, counter.overrun))
        return rows


def _budget_row(budget: Budget, head: Head) -> tuple[int, str, str, str, int, int, int]:
    kinds = (budget.owner, budget.metric.value, budget.window.value)
    return (head.number, *kinds, head.limit, int(head.frozen), head.period)
