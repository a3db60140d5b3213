"""Read-only connections and the few threads that use them, so that a long list never stands in a writer's way."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, LifoQueue
from typing import TypeVar

import apsw

from aisecops_server.adapters.sqlite.database import DISK, open_for_reading, translated
from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES, SUBTREE_LEAVES
from aisecops_server.domain.errors import LogUnavailableError

R = TypeVar("R")

_THREADS = 4
_MOST_PROCESSES = 8


@dataclass(frozen=True, slots=True)
class Helpers:
    """How many processes help to verify the file at ``path``, and how far they stand back for others.

    With fewer events than ``least_events`` there is less to do than it takes them to start. So many leaves and traces
    are one task: a part of the log that takes a process some tens of milliseconds.
    """

    path: Path
    count: int = 0
    niceness: int = 0
    least_events: int = 32_768
    leaves_per_task: int = 16 * SUBTREE_LEAVES
    traces_per_task: int = 2 * BLOCK_TRACES


class Readers:
    """Runs queries, each on one consistent snapshot."""

    # What to look at when nothing can be read.
    check = DISK

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._path = path
        self._vfs = vfs
        self._idle: LifoQueue[apsw.Connection] = LifoQueue()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="audit-log-reader")
        self._refusing = False

    @property
    def refusing(self) -> bool:
        """Return whether no new query is taken."""
        return self._refusing

    async def run(self, query: Callable[[apsw.Connection], R]) -> R:
        """Return what ``query`` finds.

        Raises:
            IntegrityError: stored data is damaged.
            LogUnavailableError: the database cannot be read.
        """
        if self._refusing:
            raise LogUnavailableError("the log is closed", hint="The control plane is shutting down; try another")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._query, query)

    async def scan(self, query: Callable[[apsw.Connection], R]) -> R:
        """Return what a long ``query`` finds, outside of one snapshot, so that it never holds back the writer.

        Raises:
            IntegrityError: stored data is damaged.
            LogUnavailableError: the database cannot be read.
        """
        return await asyncio.to_thread(self._scan, query)

    def helpers(self, *, niceness: int) -> Helpers:
        """Return who may help with a long scan: a process for each core but one, if processes can open the file."""
        count = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES) - 1
        return Helpers(self._path, 0 if self._vfs else count, niceness)

    def opened(self) -> apsw.Connection:
        """Return a connection of its own, that cannot write."""
        return open_for_reading(self._path, vfs=self._vfs)

    def kept(self) -> apsw.Connection:
        """Return a connection that cannot write, for queries that others wait behind."""
        return self.opened()

    def refuse(self) -> None:
        """Take no new query."""
        self._refusing = True

    def close(self) -> None:
        """Wait for running queries and close the connections."""
        self._threads.shutdown()
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _query(self, query: Callable[[apsw.Connection], R]) -> R:
        with translated("reading", self.check):
            connection = self._connection()
            try:
                with connection:
                    found = query(connection)
            finally:
                self._idle.put(connection)
        return found

    def _scan(self, query: Callable[[apsw.Connection], R]) -> R:
        with translated("reading", self.check), contextlib.closing(self.opened()) as connection:
            return query(connection)

    def _connection(self) -> apsw.Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            return self.kept()
