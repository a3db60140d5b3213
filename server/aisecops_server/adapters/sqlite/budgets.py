"""The books as everybody but the writer sees them: ``BudgetLedger`` on the log's database.

A decision's usage comes from the mirror; whatever the mirror does not hold, and every list, is a query.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import apsw

from aisecops_server.adapters.sqlite.budget_rows import (
    RESERVATIONS,
    adjustment_of,
    budget_states,
    read_reservation,
    reservation_of,
    states_of,
)
from aisecops_server.adapters.sqlite.budget_table import BudgetMirror
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.statements import Row, Value
from aisecops_server.adapters.sqlite.stored import remarks_on
from aisecops_server.domain.budgets.budget import (
    Budget,
    BudgetFilter,
    BudgetPage,
    BudgetState,
    Counter,
    PeriodPage,
    Subject,
    session_id,
)
from aisecops_server.domain.budgets.budget_changes import Adjust
from aisecops_server.domain.budgets.reservation import Reservation
from aisecops_server.domain.errors import InvalidRequestError, NotFoundError
from aisecops_server.domain.events.event import StoredEvent

_OVERDUE = f"{RESERVATIONS} WHERE state = 'RESERVED' AND expires_at <= ? ORDER BY expires_at LIMIT ?"
_PERIODS = """
    SELECT p.started_at, p.used, p.reserved, p.overrun, b.limit_amount, b.frozen
    FROM budget AS b JOIN budget_period AS p ON p.budget = b.number
    WHERE b.owner = ? AND b.metric = ? AND b.window = ? AND p.started_at < ?
    ORDER BY p.started_at DESC LIMIT ?"""
_END_OF_TIME = 1 << 62


class SqliteBudgets:
    """Implements ``BudgetLedger``. Without a ``mirror``, as beside a process that writes, everything is a query."""

    def __init__(self, readers: Readers, mirror: BudgetMirror | None) -> None:
        self._readers = readers
        self._mirror = mirror

    async def standing(self, owners: Sequence[str], *, now_seconds: int) -> list[BudgetState]:
        """Return how every budget of some owners stands."""
        known = self._mirror.states(owners, now_seconds) if self._mirror else None
        if known is not None:
            return known
        return await self._readers.run(partial(states_of, owners=owners, now=now_seconds))

    async def reservation(self, decision_id: str) -> Reservation | None:
        """Return what a decision reserved."""
        return await self._readers.run(partial(reservation_of, decision_id=decision_id))

    async def overdue(self, *, now_seconds: int, limit: int) -> list[Reservation]:
        """Return open reservations whose time is over, those that wait longest first."""

        def query(connection: apsw.Connection) -> list[Reservation]:
            return [read_reservation(row) for row in connection.execute(_OVERDUE, (now_seconds, limit))]

        return await self._readers.run(query)

    async def budgets(self, narrow: BudgetFilter, *, now_seconds: int, page_size: int, page_token: str) -> BudgetPage:
        """Return a page of budgets by name."""
        after = _after(page_token)

        def query(connection: apsw.Connection) -> list[BudgetState]:
            where, values = _where(narrow, after)
            rest = f"{where} ORDER BY b.owner, b.metric, b.window LIMIT ?"
            return budget_states(connection, rest, (*values, page_size + 1), now=now_seconds)

        found = await self._readers.run(query)
        page = tuple(found[:page_size])
        return BudgetPage(page, page[-1].budget.key if len(found) > page_size else "")

    async def budget(self, budget: Budget, *, now_seconds: int) -> BudgetState:
        """Return how one budget stands."""

        def query(connection: apsw.Connection) -> list[BudgetState]:
            rest = "WHERE b.owner = ? AND b.metric = ? AND b.window = ?"
            return budget_states(connection, rest, _columns(budget), now=now_seconds)

        for state in await self._readers.run(query):
            return state
        raise NotFoundError(
            f"nobody used the budget {budget.key}",
            hint="'aisecops budget list' names those that were used",
            id=budget.key,
        )

    async def periods(self, budget: Budget, *, page_size: int, page_token: str) -> PeriodPage:
        """Return a page of the periods in which a budget was used, newest first."""
        if page_token and not page_token.isdecimal():
            raise _no_token()
        before = int(page_token[:19]) if page_token else _END_OF_TIME

        def query(connection: apsw.Connection) -> list[Row]:
            return connection.execute(_PERIODS, (*_columns(budget), before, page_size + 1)).fetchall()

        found = await self._readers.run(query)
        page = tuple(_period(budget, row) for row in found[:page_size])
        return PeriodPage(page, str(page[-1].period) if len(found) > page_size else "")

    async def remarks(self, budget: Budget, *, limit: int) -> list[StoredEvent]:
        """Return what people did to a budget and when it was overrun, newest first."""
        return await self._readers.run(partial(remarks_on, budget=budget, limit=limit))

    async def adjustment(self, request_id: str) -> Adjust | None:
        """Return the adjustment that was made for a request."""
        return await self._readers.run(partial(adjustment_of, request_id=request_id))


def _where(narrow: BudgetFilter, after: Budget | None) -> tuple[str, tuple[Value, ...]]:
    conditions: list[str] = ["1 = 1"]
    values: list[Value] = []

    def also(condition: str, *more: Value) -> None:
        conditions.append(condition)
        values.extend(more)

    if after:
        also("(b.owner, b.metric, b.window) > (?, ?, ?)", *_columns(after))
    if narrow.subject:
        also("b.owner >= ? AND b.owner < ?", f"{narrow.subject}:", f"{narrow.subject};")
    if narrow.id:
        also(f"b.owner IN ({','.join('?' * len(Subject))})", *(f"{kind.value}:{narrow.id}" for kind in Subject))
    if narrow.metric:
        also("b.metric = ?", narrow.metric)
    if narrow.window:
        also("b.window = ?", narrow.window)
    if narrow.frozen:
        also("b.frozen = 1")
    if narrow.only_of:
        sessions = f"{Subject.SESSION.value}:{session_id(narrow.only_of, '')}"
        own = f"{Subject.AGENT.value}:{narrow.only_of}"
        also("(b.owner = ? OR (b.owner >= ? AND b.owner < ?))", own, sessions, f"{sessions[:-1]}$")
    return f"WHERE {' AND '.join(conditions)}", tuple(values)


def _columns(budget: Budget) -> tuple[str, str, str]:
    return (budget.owner, budget.metric.value, budget.window.value)


def _period(budget: Budget, row: Row) -> BudgetState:
    started_at, used, reserved, overrun, limit, frozen = row
    return BudgetState(budget, started_at, Counter(used, reserved, overrun), limit, bool(frozen))


def _after(page_token: str) -> Budget | None:
    try:
        return Budget.named(page_token) if page_token else None
    except InvalidRequestError as error:
        raise _no_token() from error


def _no_token() -> InvalidRequestError:
    return InvalidRequestError(
        "page_token: was not made by this list", hint="Send back 'next_page_token' as it came", field="page_token"
    )
