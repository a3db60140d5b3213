"""Recorded traces and what policy said of their calls, in a database file of their own.

Nothing here is evidence: the file can be made again from the imported files and the log. One thread owns the
connection; every method is one transaction on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing, translated
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import (
    Evaluation,
    RecordedCall,
    RecordedPrompt,
    RecordedTrace,
    Tally,
)

# "AIST": tells the file from the audit database.
APPLICATION_ID = 0x41495354
MIGRATIONS = (
    """
    CREATE TABLE migration (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE recorded_trace (
        trace_id TEXT PRIMARY KEY,
        calls    INTEGER NOT NULL,
        body     TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE evaluation (
        revision    TEXT NOT NULL,
        trace_id    TEXT NOT NULL,
        span_id     TEXT NOT NULL,
        agent_id    TEXT NOT NULL,
        tool        TEXT NOT NULL,
        outcome     TEXT NOT NULL,
        rules       TEXT NOT NULL,
        decision_id TEXT NOT NULL,
        error       TEXT NOT NULL,
        PRIMARY KEY (revision, trace_id, span_id)
    ) STRICT, WITHOUT ROWID;
    """,
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordedCopies:
    """Implements ``Copies`` over the file of imported recordings, which others may have open."""

    path: Path

    async def forget(self, trace_ids: Sequence[str]) -> None:
        """Drop recordings of these traces and what policy said of them; nothing where nothing was imported."""
        if self.path.exists():
            await asyncio.to_thread(self.drop, trace_ids)

    def agents(self, trace_ids: Sequence[str]) -> set[str]:
        """Return which agents recorded these traces."""
        query = "SELECT body FROM recorded_trace WHERE trace_id = ?"
        with translated("reading recordings"), contextlib.closing(_open(self.path)) as held:
            found = [held.execute(query, (trace_id,)).get for trace_id in trace_ids]
        return {_from_json(str(body)).agent_id for body in found if body is not None}

    def drop(self, trace_ids: Sequence[str]) -> list[str]:
        """Drop them, overwritten in the file, and return the ids of those that were there."""
        found: list[str] = []
        with translated("dropping recordings"), contextlib.closing(_open(self.path)) as held:
            with held:
                for trace_id in dict.fromkeys(trace_ids):
                    held.execute("DELETE FROM recorded_trace WHERE trace_id = ?", (trace_id,))
                    found += [trace_id] * held.changes()
                    held.execute("DELETE FROM evaluation WHERE trace_id = ?", (trace_id,))
            with contextlib.suppress(apsw.BusyError):
                held.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return found


class SqliteRecordedTraces:
    """The store of recorded traces."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating it if it is missing.

        Raises:
            LogUnavailableError: it cannot be opened.
            IntegrityError: it is damaged.
        """
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorded-traces")
        self._connection = self._thread.submit(_open, path).result()

    async def add(self, traces: Sequence[RecordedTrace]) -> int:
        """Store traces, joining them with what is there; return how many were new."""
        return await self._run("storing traces", lambda connection: sum(_add(connection, trace) for trace in traces))

    async def page(self, *, after: str, limit: int) -> list[RecordedTrace]:
        """Return traces in the order of their ids, starting behind ``after``."""
        query = "SELECT body FROM recorded_trace WHERE trace_id > ? ORDER BY trace_id LIMIT ?"
        rows: list[Any] = await self._run("reading traces", lambda held: held.execute(query, (after, limit)).fetchall())
        return [_from_json(body) for (body,) in rows]

    async def calls(self) -> int:
        """Return how many calls all traces have."""
        query = "SELECT coalesce(sum(calls), 0) FROM recorded_trace"
        return int(await self._run("counting calls", lambda held: held.execute(query).get))

    async def evaluated(self, revision: str, trace_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Return which calls of these traces were decided on ``revision``, as (trace id, span id)."""
        query = "SELECT trace_id, span_id FROM evaluation WHERE revision = ? AND outcome <> '' AND trace_id = ?"
        return await self._run(
            "reading evaluations",
            lambda held: {row for trace_id in trace_ids for row in held.execute(query, (revision, trace_id))},
        )

    async def record(self, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations; a later one of the same call on the same revision replaces an earlier one."""
        rows = [
            (
                item.revision,
                item.trace_id,
                item.span_id,
                item.agent_id,
                item.tool,
                item.outcome,
                json.dumps(item.rules),
                item.decision_id,
                item.error,
            )
            for item in evaluations
        ]
        query = "INSERT OR REPLACE INTO evaluation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        await self._run("storing evaluations", lambda held: held.executemany(query, rows))

    async def evaluations(self, revision: str) -> list[Evaluation]:
        """Return every evaluation on ``revision``, by trace and span."""
        query = (
            "SELECT trace_id, span_id, agent_id, tool, revision, outcome, rules, decision_id, error "
            "FROM evaluation WHERE revision = ? ORDER BY trace_id, span_id"
        )
        rows: list[Any] = await self._run(
            "reading evaluations", lambda held: held.execute(query, (revision,)).fetchall()
        )
        return [_evaluation(row) for row in rows]

    async def revisions(self) -> list[str]:
        """Return every revision on which something was evaluated, sorted."""
        query = "SELECT DISTINCT revision FROM evaluation ORDER BY revision"
        rows: list[Any] = await self._run("reading revisions", lambda held: held.execute(query).fetchall())
        return [revision for (revision,) in rows]

    async def tallies(self, revision: str) -> list[Tally]:
        """Return how often which outcome came up, by agent, tool and rules."""
        query = (
            "SELECT agent_id, tool, outcome, rules, count(*) FROM evaluation WHERE revision = ? "
            "GROUP BY agent_id, tool, outcome, rules ORDER BY agent_id, tool, outcome, rules"
        )
        rows: list[Any] = await self._run("counting outcomes", lambda held: held.execute(query, (revision,)).fetchall())
        return [Tally(agent, tool, outcome, tuple(json.loads(rules)), n) for agent, tool, outcome, rules, n in rows]

    async def close(self) -> None:
        """Finish and close."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    async def _run(self, doing: str, work: Callable[[apsw.Connection], T]) -> T:
        def guarded() -> T:
            with translated(doing), self._connection:
                return work(self._connection)
            raise AssertionError("unreachable: what is translated is raised")

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)


def _open(path: Path) -> apsw.Connection:
    connection = open_for_writing(path)
    migrate(connection, MIGRATIONS, application_id=APPLICATION_ID)
    return connection


def _add(connection: apsw.Connection, trace: RecordedTrace) -> bool:
    known = connection.execute("SELECT body FROM recorded_trace WHERE trace_id = ?", (trace.trace_id,)).get
    whole = _from_json(str(known)).joined(trace) if known else trace
    connection.execute(
        "INSERT OR REPLACE INTO recorded_trace VALUES (?, ?, ?)",
        (whole.trace_id, len(whole.calls), json.dumps(asdict(whole), ensure_ascii=False)),
    )
    return known is None


def _evaluation(row: Sequence[Any]) -> Evaluation:
    trace_id, span_id, agent_id, tool, revision, outcome, rules, decision_id, error = row
    return Evaluation(
        trace_id=trace_id,
        span_id=span_id,
        agent_id=agent_id,
        tool=tool,
        revision=revision,
        outcome=outcome,
        rules=tuple(json.loads(rules)),
        decision_id=decision_id,
        error=error,
    )


def _from_json(body: str) -> RecordedTrace:
    held = json.loads(body)
    return RecordedTrace(
        **{name: held[name] for name in ("trace_id", "agent_id", "session_id", "environment")},
        prompts=tuple(RecordedPrompt(SourceKind(item["kind"]), item["text"]) for item in held["prompts"]),
        calls=tuple(RecordedCall(**item) for item in held["calls"]),
    )
