"""Do the books say what the log says? Every counter and every reservation from the events that tell of them.

Relies on events that were verified before. The books are written anew in memory from the first event on, beside a
running writer; only the last part, and the comparison, see one snapshot. A reservation that reached an end that is
final is compared at once, so that memory holds what is open and the counters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw
import orjson

from aisecops_server.adapters.sqlite.budget_rows import reservation_row
from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.budgets.budget import Budget, Counter
from aisecops_server.domain.budgets.budget_changes import BudgetChange, change_of
from aisecops_server.domain.budgets.ledger import MemoryBooks, apply
from aisecops_server.domain.budgets.reservation import Reservation, ReservationState
from aisecops_server.domain.errors import InvalidRequestError

_EVENTS = """
    SELECT idx, type, body FROM event
    WHERE idx >= ? AND type >= 'budget.' AND type < 'budget/' AND type NOT IN ('budget.checked', 'budget.overrun')
    ORDER BY idx LIMIT ?"""
_EVENTS_PER_READ = 4096
_OF_BUDGETS = "budget."
_CHANGE_NOTHING = frozenset({"budget.checked", "budget.overrun"})
_PERIODS = """
    SELECT b.owner, b.metric, b.window, p.started_at, p.used, p.reserved, p.overrun
    FROM budget_period AS p LEFT JOIN budget AS b ON b.number = p.budget"""
_FINAL = frozenset({ReservationState.SETTLED, ReservationState.VOID})


@dataclass(slots=True)
class _Recounted(MemoryBooks):
    """The books as the log says they must be, with what is final set apart."""

    opened: int = 0
    final: list[Reservation] = field(default_factory=list)

    def open(self, reservation: Reservation) -> bool:
        """Keep a new reservation."""
        self.opened += 1
        return MemoryBooks.open(self, reservation)

    def keep(self, reservation: Reservation) -> None:
        """Keep a reservation, or set it apart when nothing can happen to it any more."""
        if reservation.state in _FINAL:
            del self.reservations[reservation.decision_id]
            self.final.append(reservation)
        else:
            MemoryBooks.keep(self, reservation)


def changes_books(type: str) -> bool:
    """Return whether events of a type change the books."""
    return type.startswith(_OF_BUDGETS) and type not in _CHANGE_NOTHING


def check_books(connection: apsw.Connection, index: int = 0) -> None:
    """Compare the books with the events in the log, of which none before ``index`` tells of them.

    Raises:
        Fault: the first thing that does not agree.
    """
    books = _Recounted()
    following = _recount(connection, books, index)
    with connection:
        _recount(connection, books, following)
        _compare_counters(connection, books)
        _compare_budgets(connection, books)
        _compare_reservations(connection, list(books.reservations.values()))
        _compare_adjustments(connection, books)
        if (held := connection.execute("SELECT count(*) FROM reservation").get) != books.opened:
            raise Fault(None, f"{held} reservations are kept, the log tells of {books.opened}")


def _recount(connection: apsw.Connection, books: _Recounted, index: int) -> int:
    """Write the events from ``index`` on into ``books``; return where the next ones begin."""
    rows: list[Row]
    while rows := connection.execute(_EVENTS, (index, _EVENTS_PER_READ)).fetchall():
        for at, kind, body in rows:
            change = _change(at, kind, body)
            refusal = apply(books, change)
            if refusal is not None:
                raise Fault(at, f"event {at} tells of a change that the budgets could not take: {refusal.message}")
        index = rows[-1][0] + 1
        _compare_reservations(connection, books.final)
        books.final.clear()
    return index


def _change(index: int, kind: str, body: bytes) -> BudgetChange:
    try:
        change = change_of(kind, orjson.loads(body)["details"])
    except (ValueError, KeyError, TypeError) as error:
        raise Fault(index, f"event {index} does not tell what became of the budgets") from error
    if change is None:
        raise Fault(index, f"event {index} is of the unknown type {kind}")
    return change


def _compare_counters(connection: apsw.Connection, books: MemoryBooks) -> None:
    expected = dict(books.counters)
    for owner, metric, window, period, *figures in connection.execute(_PERIODS):
        budget = _named(owner, metric, window)
        counter = expected.pop((budget, period), None)
        if counter != Counter(*figures):
            raise Fault(None, f"budget {budget.key} from {period}: used, reserved or overrun are not what the log says")
    for budget, period in expected:
        raise Fault(None, f"budget {budget.key} from {period} is missing")


def _compare_budgets(connection: apsw.Connection, books: MemoryBooks) -> None:
    expected = {budget: (limit, budget in books.frozen) for budget, limit in books.limits.items()}
    latest: dict[Budget, int] = {}
    for budget, period in books.counters:
        latest[budget] = max(period, latest.get(budget, period))
    query = "SELECT owner, metric, window, limit_amount, frozen, latest FROM budget"
    for owner, metric, window, limit, frozen, newest in connection.execute(query):
        budget = _named(owner, metric, window)
        if expected.pop(budget, None) != (limit, bool(frozen)) or latest[budget] != newest:
            raise Fault(None, f"budget {budget.key}: its limit, freeze or newest period are not what the log says")
    for budget in expected:
        raise Fault(None, f"budget {budget.key} is missing")


def _compare_reservations(connection: apsw.Connection, expected: list[Reservation]) -> None:
    for reservation in expected:
        query = "SELECT decision_id, state, expires_at, body FROM reservation WHERE decision_id = ?"
        if connection.execute(query, (reservation.decision_id,)).fetchone() != reservation_row(reservation):
            raise Fault(None, f"the reservation of decision {reservation.decision_id} is not what the log says")


def _compare_adjustments(connection: apsw.Connection, books: MemoryBooks) -> None:
    held = {request for (request,) in connection.execute("SELECT request_id FROM budget_adjustment")}
    for request in sorted(held.symmetric_difference(books.adjustments)):
        raise Fault(None, f"adjustment {request!r} stands in the log or in the books, but not in both")


def _named(*parts: object) -> Budget:
    try:
        return Budget.named("/".join(map(str, parts)))
    except InvalidRequestError as error:
        raise Fault(None, "a budget has no name") from error
