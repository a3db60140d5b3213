"""The log in PostgreSQL against the contract of every event log."""

from __future__ import annotations

import asyncio

import pytest
from aisecops_server.adapters.postgres.event_log import open_log
from aisecops_server.ports import EventLog

from tests.contract.changes import ChangesContract
from tests.contract.event_log import EventLogContract
from tests.contract.narrowing import NarrowingContract
from tests.contract.proofs import ProvenLogContract
from tests.contract.traces import TracesContract
from tests.scenes.servers.postgres_servers import PostgresServer


class TestPostgresEventLog(EventLogContract, NarrowingContract, TracesContract, ChangesContract, ProvenLogContract):
    """One database per test."""

    @pytest.fixture(autouse=True)
    def place(self, postgres: PostgresServer) -> None:
        self.url = postgres.url(postgres.database())

    async def open(self) -> EventLog:
        return await asyncio.to_thread(open_log, self.url)
