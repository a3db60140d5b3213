"""Somebody changes only the books: a counter, a limit, a freeze, a reservation. The check says so and names what."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.domain.budgets.budget_changes import BudgetChange, Reserve, Settle
from aisecops_server.domain.budgets.reservation import Reservation

from tests.fault.log_copies import copied, verified
from tests.scenes.budgets.books import problems
from tests.scenes.budgets.budget_records import event_record
from tests.scenes.budgets.ledger_simulation import Simulation

PER_KIND = 12
Forgery = Callable[[apsw.Connection, random.Random], None]


class Recording(Simulation):
    """A history that remembers every change that was taken, with the reservation that it was about."""

    def change(self, change: BudgetChange) -> None:
        self.made = getattr(self, "made", [])
        about = self.books.reservation(change.decision_id) if isinstance(change, Settle) else None
        before = self.taken.copy()
        super().change(change)
        kinds = {kind for kind in self.taken if self.taken[kind] != before.get(kind)}
        if any(kind.startswith("budget.") for kind in kinds):
            self.made.append((change, about, self.now))


async def _written(path: Path) -> None:
    history = Recording(7)
    assert history.run(900) == []
    made: list[tuple[BudgetChange, Reservation | None, int]] = history.made
    assert sum(isinstance(change, Reserve) for change, _, _ in made) > 50
    log = open_log(path, LogOptions(minimum_free_bytes=0))
    await asyncio.gather(*(log.append_change(event_record(*item)) for item in made))
    await log.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("books") / "audit.db"
    asyncio.run(_written(path))
    assert (asyncio.run(verified(path)).problem, problems(path)) == ("", [])
    return path


KEYS = {
    "budget": "number",
    "budget_period": "budget, started_at",
    "reservation": "decision_id",
    "budget_adjustment": "request_id",
}


def a_row(connection: apsw.Connection, chance: random.Random, table: str, condition: str) -> tuple[object, ...]:
    """Return the key of any row that meets a condition."""
    rows = connection.execute(f"SELECT {KEYS[table]} FROM {table} WHERE {condition}").fetchall()
    return chance.choice(sorted(rows))


def one_of(table: str, column: str, value: str, condition: str = "1") -> Forgery:
    def forge(connection: apsw.Connection, chance: random.Random) -> None:
        key = a_row(connection, chance, table, condition)
        where = f"({KEYS[table]}) = ({','.join('?' * len(key))})"
        connection.execute(f"UPDATE {table} SET {column} = {value} WHERE {where}", key)

    forge.__name__ = f"{table}.{column}={value}"
    return forge


def deleted(table: str) -> Forgery:
    def forge(connection: apsw.Connection, chance: random.Random) -> None:
        key = a_row(connection, chance, table, "1")
        connection.execute(f"DELETE FROM {table} WHERE ({KEYS[table]}) = ({','.join('?' * len(key))})", key)

    forge.__name__ = f"{table} deleted"
    return forge


def a_budget_invented(connection: apsw.Connection, chance: random.Random) -> None:
    owner = f"agent:{chance.randrange(1000)}"
    connection.execute("INSERT INTO budget VALUES (9999, ?, 'calls', 'day', 5, 0, 0)", (owner,))
    connection.execute("INSERT INTO budget_period VALUES (9999, 0, 0, 0, 0)")


def a_reservation_invented(connection: apsw.Connection, chance: random.Random) -> None:
    name = f"dec-invented-{chance.randrange(1000)}"
    query = "INSERT INTO reservation SELECT ?, state, expires_at, body FROM reservation LIMIT 1"
    connection.execute(query, (name,))


FORGERIES: tuple[Forgery, ...] = (
    one_of("budget_period", "used", "used + 1"),
    one_of("budget_period", "used", "0", "used > 0 AND overrun = 0"),
    one_of("budget_period", "reserved", "reserved + 1"),
    one_of("budget_period", "overrun", "0", "overrun > 0"),
    one_of("budget_period", "started_at", "started_at + 7"),
    one_of("budget", "limit_amount", "limit_amount * 2"),
    one_of("budget", "frozen", "1 - frozen"),
    one_of("budget", "latest", "latest - 60"),
    one_of("budget", "owner", "owner || 'x'"),
    one_of("reservation", "expires_at", "expires_at + 86400"),
    one_of("reservation", "state", "'VOID'", "state <> 'VOID'"),
    one_of("reservation", "state", "'RESERVED'", "state <> 'RESERVED'"),
    one_of("reservation", "body", "CAST(replace(body, ':1', ':0') AS BLOB)", "instr(body, ':1')"),
    deleted("budget_period"),
    deleted("budget"),
    deleted("reservation"),
    deleted("budget_adjustment"),
    a_budget_invented,
    a_reservation_invented,
)


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_books_that_were_altered_do_not_verify(original: Path, tmp_path: Path, forgery: Forgery) -> None:
    for seed in range(PER_KIND):
        path = copied(original, tmp_path, str(seed))
        connection = apsw.Connection(str(path))
        forgery(connection, random.Random(seed))
        changed = connection.total_changes()
        connection.close()
        assert changed, "this forgery changed nothing"
        assert asyncio.run(verified(path)).problem != "", f"seed {seed}"


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM event WHERE idx = 9", "UPDATE event SET body = CAST(replace(body, '1', '2') AS BLOB) WHERE idx = 9"],
)
def test_an_event_of_the_books_that_is_missing_or_altered_does_not_verify(
    original: Path, tmp_path: Path, change: str
) -> None:
    path = copied(original, tmp_path, "altered")
    connection = apsw.Connection(str(path))
    connection.execute(change)
    connection.close()
    assert asyncio.run(verified(path)).problem != ""
