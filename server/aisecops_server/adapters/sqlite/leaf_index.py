"""Decisions of leaves that came in files, put where a history is read: the same tables, derived from them anew.

What the log's own index says of traces is not taken along but made of what each decision says, so that a replay of
files and one of the log find the same decisions in the same order. The database is a scratch of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from aisecops_server.adapters.sqlite.database import migrate, open_for_writing
from aisecops_server.adapters.sqlite.history import content_of
from aisecops_server.adapters.sqlite.schema import APPLICATION_ID, MIGRATIONS
from aisecops_server.adapters.sqlite.statements import Row, insert
from aisecops_server.adapters.sqlite.trace_index import TraceIndex
from aisecops_server.domain.errors import IntegrityError
from aisecops_server.domain.events.event import CONCLUDED, details_in
from aisecops_server.domain.log.log_leaf import LogLeaf
from aisecops_server.domain.log.merkle import Frontier
from aisecops_server.domain.log.record import LogHead, TraceSummary
from aisecops_server.domain.replays.recorded_decision import RecordedDecision
from aisecops_server.domain.traces.trace_summary import proven


@dataclass(frozen=True, slots=True)
class _Decision:
    """A leaf that concludes a decision, its event's row, and what the trace would be listed with that has only it.

    Erased is what its body commits to and is not there.
    """

    leaf: LogLeaf
    event: Row
    summary: TraceSummary
    is_erased: bool


class LeafIndex:
    """Takes sound leaves in order, from the first on, and then stands for the log up to the last of them."""

    def __init__(self, path: Path) -> None:
        """Make the database at ``path``.

        Raises:
            LogUnavailableError: it cannot be made.
        """
        self._connection = open_for_writing(path)
        migrate(self._connection, MIGRATIONS, application_id=APPLICATION_ID)
        # Nothing that stands only here is worth a wait for the disk.
        self._connection.pragma("synchronous", "OFF")
        self._traces = TraceIndex(self._connection)
        self._frontier = Frontier()

    def add(self, leaves: Sequence[LogLeaf]) -> None:
        """Take the leaves that follow.

        Raises:
            IntegrityError: a decision does not say what it is to be found by, or not what stands beside it.
        """
        for leaf in leaves:
            self._frontier.append(leaf.leaf_hash)
        read = [_read(leaf, leaf.body) for leaf in leaves if leaf.body is not None]
        with self._connection:
            numbers = self._traces.add_summaries([decision.summary for decision in read])
            for decision in read:
                if numbers[decision.summary.trace_id] != decision.leaf.trace:
                    raise _untrue(decision.leaf, "the number of its trace is not the one that it has")
            self._store(read)

    def close(self) -> LogHead:
        """Write down where the leaves end, and return it."""
        frontier = self._frontier
        self._connection.execute("UPDATE log_head SET size = ?, peaks = ?", (frontier.size, b"".join(frontier.peaks)))
        self._connection.close()
        return LogHead(frontier.size, frontier.root())

    def _store(self, read: Sequence[_Decision]) -> None:
        connection, leaves = self._connection, [decision.leaf for decision in read]
        insert(connection, "INSERT INTO event", [decision.event for decision in read])
        insert(
            connection,
            "INSERT INTO decision",
            [(leaf.index, leaf.decision_id, leaf.trace, leaf.document_digest, None) for leaf in leaves],
        )
        payloads = [(leaf.index, leaf.payload) for leaf in leaves if leaf.payload is not None]
        insert(connection, "INSERT INTO payload", payloads)
        documents = [(leaf.document_digest, leaf.document) for leaf in leaves if leaf.document is not None]
        insert(connection, "INSERT OR IGNORE INTO document", documents)
        gone = [(each.summary.trace_id, each.leaf.index) for each in read if each.is_erased]
        insert(connection, "INSERT OR REPLACE INTO erasure", gone)


def _read(leaf: LogLeaf, body: bytes) -> _Decision:
    try:
        told: dict[str, Any] = orjson.loads(body)
        details = details_in(CONCLUDED, body, leaf.payload)
        if (told["type"], told["decision_id"]) != (CONCLUDED, leaf.decision_id) or leaf.document_digest is None:
            raise _untrue(leaf, "it does not conclude the decision that it is listed with")
        at = told["occurred_at_micros"] * 1000
        names = ("event_id", "trace_id", "plan_id", "decision_id", "stage", "type")
        event = (leaf.index, *(str(told[name]) for name in names), at, leaf.leaf_hash, body)
        return _Decision(leaf, event, _summary(leaf, details, at), "payload" in told and leaf.payload is None)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _untrue(leaf, "it is no conclusion of a decision") from error


def _summary(leaf: LogLeaf, details: dict[str, Any], occurred_at_ns: int) -> TraceSummary:
    # The plan stands in the document; what it is for is not searched by.
    tools = RecordedDecision(leaf.index, details, b"", content_of(leaf.document or b"")).tools
    plan = {"intent": "", "steps": [{"tool": tool} for tool in tools]}
    return proven(details, plan, trace_id=str(details["trace_id"]), occurred_at_ns=occurred_at_ns)


def _untrue(leaf: LogLeaf, why: str) -> IntegrityError:
    return IntegrityError(f"leaf {leaf.index}: {why}", index=str(leaf.index))
