from dataclasses import dataclass, field

import apsw
import pytest
from aisecops_server.adapters.sqlite.changes import StateTables
from aisecops_server.domain.errors import AisecopsError, NotFoundError
from aisecops_server.domain.events.change import Change


@dataclass(frozen=True, slots=True)
class Put(Change):
    kind = "number"
    number: int


@dataclass
class Numbers:
    """Stores numbers; one below zero is refused after it was stored, so that the savepoint has to take it back."""

    shown: list[str] = field(default_factory=list)

    def apply(self, connection: apsw.Connection, change: Change) -> AisecopsError | None:
        assert isinstance(change, Put)
        connection.execute("INSERT INTO number VALUES (?)", (change.number,))
        return NotFoundError("below zero") if change.number < 0 else None

    def committed(self) -> None:
        self.shown.append("committed")

    def forget(self) -> None:
        self.shown.append("forgotten")


@pytest.fixture
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE number (value INTEGER)")
    connection.execute("BEGIN IMMEDIATE")
    return connection


def numbers(connection: apsw.Connection) -> list[int]:
    return [value for (value,) in connection.execute("SELECT value FROM number ORDER BY value")]


def test_a_refused_change_takes_back_those_before_it_and_nothing_else(connection: apsw.Connection) -> None:
    tables = StateTables({"number": Numbers()})
    assert tables.apply(connection, [Put(1), Put(2)]) is None
    refusal = tables.apply(connection, [Put(3), Put(-1), Put(4)])
    assert isinstance(refusal, NotFoundError)
    assert tables.apply(connection, [Put(5)]) is None
    connection.execute("COMMIT")
    assert numbers(connection) == [1, 2, 5]


def test_a_kind_that_nobody_keeps_is_refused_and_takes_back_those_before_it(connection: apsw.Connection) -> None:
    refusal = StateTables({"number": Numbers()}).apply(connection, [Put(1), Change()])
    assert refusal is not None
    assert refusal.reason == "INTEGRITY"
    assert numbers(connection) == []


def test_every_table_hears_how_the_transaction_ended() -> None:
    kept = Numbers()
    tables = StateTables({"number": kept})
    tables.committed()
    tables.forget()
    assert kept.shown == ["committed", "forgotten"]
