"""How budgets and reservations are written into rows, and read back from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import apsw
import orjson

from aisecops_server.adapters.sqlite.statements import Row, Value, select_in
from aisecops_server.domain.budgets.budget import Budget, BudgetState, Counter
from aisecops_server.domain.budgets.budget_changes import ADJUSTED, Adjust, change_of
from aisecops_server.domain.budgets.reservation import Ending, Portion, Reservation
from aisecops_server.domain.errors import IntegrityError, InvalidRequestError

# The owner's name begins with the kind of subject, and so does the budget's.
_HEADS = """
    SELECT b.owner, b.metric, b.window, b.number, b.limit_amount, b.frozen, b.latest,
           ifnull(p.used, 0), ifnull(p.reserved, 0), ifnull(p.overrun, 0)
    FROM budget AS b LEFT JOIN budget_period AS p ON p.budget = b.number AND p.started_at = b.latest"""


@dataclass(frozen=True, slots=True)
class Head:
    """A budget with its newest period."""

    number: int
    limit: int
    frozen: bool
    period: int
    counter: Counter


Heads = Mapping[Budget, Head]
RESERVATIONS = "SELECT decision_id, expires_at, body FROM reservation"


def heads_of(connection: apsw.Connection, owners: Sequence[str]) -> dict[str, dict[Budget, Head]]:
    """Return the budgets of some owners."""
    found: dict[str, dict[Budget, Head]] = {owner: {} for owner in owners}
    for row in select_in(connection, f"{_HEADS} WHERE (b.owner) IN", [(owner,) for owner in owners]):
        budget, head = _head(row)
        found[budget.owner][budget] = head
    return found


def all_heads(connection: apsw.Connection, *, most_owners: int) -> tuple[dict[str, dict[Budget, Head]], bool]:
    """Return the budgets of the owners that came last, oldest first, and whether these are all."""
    query = "SELECT owner FROM budget GROUP BY owner ORDER BY max(latest), max(number)"
    owners = [owner for (owner,) in connection.execute(query)]
    kept = owners[-most_owners:]
    if len(kept) < len(owners):
        return heads_of(connection, kept), False
    found: dict[str, dict[Budget, Head]] = {owner: {} for owner in owners}
    for row in connection.execute(_HEADS):
        budget, head = _head(row)
        found[budget.owner][budget] = head
    return found, True


def counter_of(connection: apsw.Connection, number: int, period: int) -> Counter:
    """Return what was counted in one period of a budget."""
    query = "SELECT used, reserved, overrun FROM budget_period WHERE budget = ? AND started_at = ?"
    row = connection.execute(query, (number, period)).fetchone()
    return Counter(*row) if row else Counter()


def budget_states(connection: apsw.Connection, rest: str, values: Sequence[Value], *, now: int) -> list[BudgetState]:
    """Return how budgets stand at a moment; ``rest`` is what follows the tables of the query."""
    rows = connection.execute(f"{_HEADS} {rest}", tuple(values)).fetchall()
    return [_standing(connection, *_head(row), now) for row in rows]


def states_of(connection: apsw.Connection, owners: Sequence[str], now: int) -> list[BudgetState]:
    """Return how the budgets of some owners stand at a moment."""
    owned = heads_of(connection, owners).values()
    return [_standing(connection, budget, head, now) for heads in owned for budget, head in heads.items()]


def _standing(connection: apsw.Connection, budget: Budget, head: Head, now: int) -> BudgetState:
    """Return a budget at a moment, which may be before its newest period: a clock can have been ahead."""
    period = budget.window.started_at(now)
    counter = head.counter if period == head.period else Counter()
    if period < head.period:
        counter = counter_of(connection, head.number, period)
    return BudgetState(budget, period, counter, head.limit, head.frozen)


def reservation_row(reservation: Reservation) -> Row:
    """Return the row of a reservation."""
    body = [
        reservation.trace_id,
        reservation.plan_id,
        reservation.step_ids,
        [
            (portion.budget.key, portion.period, portion.limit, portion.spent, portion.steps, portion.enforced)
            for portion in reservation.portions
        ],
        {step: ending.value for step, ending in reservation.closed.items()},
    ]
    kept = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return (reservation.decision_id, reservation.state.value, reservation.expires_at_seconds, kept)


def reservation_of(connection: apsw.Connection, decision_id: str) -> Reservation | None:
    """Return what a decision reserved."""
    row = connection.execute(f"{RESERVATIONS} WHERE decision_id = ?", (decision_id,)).fetchone()
    return read_reservation(row) if row else None


def read_reservation(row: Row) -> Reservation:
    """Return the reservation in a row.

    Raises:
        IntegrityError: there is none in it.
    """
    decision_id, expires_at, body = row
    try:
        trace_id, plan_id, steps, portions, closed = orjson.loads(body)
        return Reservation(
            decision_id=decision_id,
            trace_id=trace_id,
            plan_id=plan_id,
            expires_at_seconds=expires_at,
            step_ids=tuple(steps),
            portions=tuple(Portion(Budget.named(name), *figures) for name, *figures in portions),
            closed={step: Ending(ending) for step, ending in closed.items()},
        )
    except (ValueError, TypeError, AttributeError, InvalidRequestError) as error:
        raise _damaged("reservation") from error


def adjustment_of(connection: apsw.Connection, request_id: str) -> Adjust | None:
    """Return the adjustment that was made for a request."""
    row = connection.execute("SELECT body FROM budget_adjustment WHERE request_id = ?", (request_id,)).fetchone()
    if row is None:
        return None
    try:
        change = change_of(ADJUSTED, orjson.loads(row[0]))
    except ValueError as error:
        raise _damaged("adjustment") from error
    if not isinstance(change, Adjust):
        raise _damaged("adjustment")
    return change


def _head(row: Row) -> tuple[Budget, Head]:
    owner, metric, window, number, limit, frozen, latest, used, reserved, overrun = row
    try:
        budget = Budget.named(f"{owner}/{metric}/{window}")
    except InvalidRequestError as error:
        raise _damaged("budget") from error
    return budget, Head(number, limit, bool(frozen), latest, Counter(used, reserved, overrun))


def _damaged(what: str) -> IntegrityError:
    return IntegrityError(
        f"a stored {what} cannot be read", hint="Compare the books with the log: 'aisecops log verify'"
    )
