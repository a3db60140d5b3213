"""The ledger on SQLite, with all and with next to nothing in memory, on PostgreSQL, and the fake: one contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from aisecops_server.adapters.postgres.event_log import open_log as open_shared_log
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.ports.budgets import BudgetLedger

from tests.contract.budget_ledger import BudgetLedgerContract
from tests.fakes.budgets import MemoryLedger
from tests.scenes.servers.postgres_servers import PostgresServer


class TestSqliteBudgets(BudgetLedgerContract):
    """One file per test."""

    owners = 100

    @pytest_asyncio.fixture
    async def ledger(self, tmp_path: Path) -> AsyncIterator[BudgetLedger]:
        options = LogOptions(minimum_free_bytes=0, budget_owners=self.owners)
        self.log: SqliteEventLog = open_log(tmp_path / "audit.db", options)
        yield self.log.budgets
        assert (await self.log.verify()).problem == ""
        await self.log.close()

    async def take(self, record: ChangeRecord) -> None:
        await self.log.append_change(record)


class TestSqliteBudgetsOutOfMemory(TestSqliteBudgets):
    """The same, read from the file."""

    owners = 1


class TestPostgresBudgets(BudgetLedgerContract):
    """One database per test."""

    @pytest_asyncio.fixture
    async def ledger(self, postgres: PostgresServer) -> AsyncIterator[BudgetLedger]:
        database = await asyncio.to_thread(postgres.database)
        self.log = await asyncio.to_thread(open_shared_log, postgres.url(database))
        yield self.log.budgets
        assert (await self.log.verify()).problem == ""
        await self.log.close()

    async def take(self, record: ChangeRecord) -> None:
        await self.log.append_change(record)


class TestMemoryLedger(BudgetLedgerContract):
    """The fake."""

    @pytest_asyncio.fixture
    async def ledger(self) -> AsyncIterator[BudgetLedger]:
        self.memory = MemoryLedger()
        yield self.memory

    async def take(self, record: ChangeRecord) -> None:
        (change,) = record.changes
        assert self.memory.take(change, record.events) is None  # type: ignore[arg-type]
