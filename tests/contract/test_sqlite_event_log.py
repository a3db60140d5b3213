"""The SQLite log against the contract of every event log."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.ports import EventLog

from tests.contract.changes import ChangesContract
from tests.contract.event_log import EventLogContract
from tests.contract.narrowing import NarrowingContract
from tests.contract.proofs import ProvenLogContract
from tests.contract.traces import TracesContract


class TestSqliteEventLog(EventLogContract, NarrowingContract, TracesContract, ChangesContract, ProvenLogContract):
    """One file per test."""

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "state" / "audit.db"

    async def open(self) -> EventLog:
        return open_log(self.path, LogOptions(minimum_free_bytes=0))
