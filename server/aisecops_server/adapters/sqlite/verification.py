"""Does the database still say what was written? Every leaf from its body, every index entry from its leaf.

Nothing is ever repaired here. ``startup_problem`` is the bounded check before the log takes anything again;
``Verification`` is the whole one and may run beside the writer, on the part of the log that is there when it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import apsw

from aisecops_server.adapters.sqlite.agent_activity import Told, check_agents
from aisecops_server.adapters.sqlite.append import load_frontier
from aisecops_server.adapters.sqlite.approval_verification import APPROVAL_EVENTS
from aisecops_server.adapters.sqlite.budget_verification import changes_books
from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.grant_verification import GRANT_EVENTS
from aisecops_server.adapters.sqlite.leaf_verification import checked_leaves
from aisecops_server.adapters.sqlite.readers import Helpers
from aisecops_server.adapters.sqlite.schema import SUBTREE_LEAVES
from aisecops_server.adapters.sqlite.verification_crew import Crew
from aisecops_server.adapters.sqlite.verification_tasks import LEAVES, TRACES, Answer, Task, fault_in
from aisecops_server.domain.log.merkle import Frontier, complete_root
from aisecops_server.domain.log.record import LogHead, LogReport

_Given = tuple[Task, Future[Answer | None]]

# What must find nothing, and what it says when it does. A retry key is compared with the principal that its
# decision names, where it names one.
_STRAYS = (
    (
        "has an index that the log never gave",
        """
        SELECT min(idx) FROM (
            SELECT min(idx) AS idx FROM event WHERE idx < 0
            UNION ALL SELECT min(idx) FROM event WHERE idx >= (SELECT size FROM log_head)
        ) AS found""",
    ),
    (
        "is not there, but a decision is stored under it",
        "SELECT min(outcome_idx) FROM decision WHERE outcome_idx < 0 OR outcome_idx >= (SELECT size FROM log_head)",
    ),
    (
        "is not there, but a payload is stored under it",
        "SELECT min(idx) FROM payload WHERE idx < 0 OR idx >= (SELECT size FROM log_head)",
    ),
    (
        "begins a subtree that the log never had",
        """
        SELECT min(number) * :leaves FROM subtree
        WHERE number < 0 OR number >= (SELECT size / :leaves FROM log_head)""",
    ),
    (
        "is a decision whose retry key is missing or altered",
        """
        SELECT min(ifnull(d.outcome_idx, i.outcome_idx)) FROM decision AS d
        FULL JOIN idempotency AS i ON i.outcome_idx = d.outcome_idx
        WHERE d.request_digest IS DISTINCT FROM i.request_digest""",
    ),
    (
        "is a decision whose retry key names another principal",
        """
        SELECT min(i.outcome_idx) FROM idempotency AS i JOIN event AS e ON e.idx = i.outcome_idx
        WHERE instr(e.body, CAST('"principal":{' AS BLOB)) > 0
        AND instr(e.body, CAST('"id":' || json_quote(i.principal_id) AS BLOB)) = 0""",
    ),
)

# Whose own look-ups must agree with their rows.
_DERIVED = (
    "decision",
    "idempotency",
    "trace",
    "trace_figure",
    "trace_block",
    "term",
    "trace_posting",
    "agent_activity",
    "budget",
    "budget_period",
    "reservation",
    "budget_adjustment",
    "approval",
    "vote",
    "notice",
    "execution_grant",
    "edge",
    "erasure",
    "hold",
    "hold_subject",
)


def startup_problem(connection: apsw.Connection) -> str:
    """Return what speaks against appending to this log, or an empty string.

    Checks that indices have no gap, that the stored right edge is the one that the subtrees and the newest
    leaves give, and that those leaves are the hashes of their bodies.
    """
    try:
        frontier = load_frontier(connection)
    except (ValueError, TypeError) as error:
        return f"the stored head is no head of a tree ({error})"
    count, last = connection.execute("SELECT count(*), ifnull(max(idx), -1) FROM event").get
    if not count == last + 1 == frontier.size:
        return f"the head counts {frontier.size} events, the log holds {count} and ends at index {last}"
    subtrees = [row[0] for row in connection.execute("SELECT hash FROM subtree ORDER BY number")]
    if len(subtrees) != frontier.size // SUBTREE_LEAVES:
        return f"the log holds {len(subtrees)} subtrees for {frontier.size} events"
    try:
        return _edge_problem(connection, frontier, subtrees)
    except Fault as fault:
        return fault.problem


def _edge_problem(connection: apsw.Connection, frontier: Frontier, subtrees: Sequence[bytes]) -> str:
    edge = len(subtrees) * SUBTREE_LEAVES
    if subtrees and complete_root(checked_leaves(connection, edge - SUBTREE_LEAVES, edge)) != subtrees[-1]:
        return f"the newest complete subtree is not the root of events {edge - SUBTREE_LEAVES} to {edge - 1}"
    large, small = Frontier(), Frontier()
    for root in subtrees:
        large.append(root)
    for leaf in checked_leaves(connection, edge, frontier.size):
        small.append(leaf)
    if (*large.peaks, *small.peaks) != frontier.peaks:
        return "the stored right edge is not the one that the stored events give"
    return ""


class _UnreadableError(Exception):
    """Something that a task relied on cannot be read."""


class Verification:
    """One full verification, by this thread and by ``helpers``."""

    def __init__(
        self, connection: apsw.Connection, progress: Callable[[int, int], None], helpers: Helpers | None = None
    ) -> None:
        self._connection = connection
        self._progress = progress
        self._helpers = helpers or Helpers(Path())
        self._crew = Crew(connection, self._helpers)
        self._tree = Frontier()
        self._newest = Frontier()
        self._first: dict[str, int] = {}

    def run(self) -> LogReport:
        """Recompute everything; stops at the first thing that does not agree."""
        try:
            stored = load_frontier(self._connection)
        except (ValueError, TypeError) as error:
            return LogReport(LogHead(0, b""), LogHead(0, b""), f"the stored head is no head of a tree ({error})", None)
        problem, index = "", None
        try:
            with self._crew.at_work(stored.size):
                self._check(stored)
        except Fault as fault:
            problem, index = fault.problem, fault.index
        except (_UnreadableError, UnicodeDecodeError, TypeError):
            index = self._unreadable(stored.size)
            problem = f"event {index} or what belongs to it cannot be read"
        return LogReport(LogHead(stored.size, stored.root()), self._recomputed(), problem, index)

    def _recomputed(self) -> LogHead:
        peaks = (*self._tree.peaks, *self._newest.peaks)
        size = self._tree.size * SUBTREE_LEAVES + self._newest.size
        return LogHead(size, Frontier(size, peaks).root())

    def _unreadable(self, size: int) -> int:
        """Return the first event that cannot be read, of those not checked yet."""
        checked = self._recomputed().size
        for index in range(checked, size):
            try:
                checked_leaves(self._connection, index, index + 1)
            except (UnicodeDecodeError, TypeError):
                return index
        # Its leaf is sound, so what cannot be read stands in an index entry of the part that was checked last.
        return max(checked - 1, 0) // SUBTREE_LEAVES * SUBTREE_LEAVES

    def _check(self, stored: Frontier) -> None:
        size = stored.size
        parts = [(start, self._crew.submit(task)) for start, task in self._leaf_tasks(size)]
        # What decisions say of traces does not wait for the leaves, but is believed after them.
        lists = list(map(self._crew.submit, self._trace_tasks(size)))
        for start, part in parts:
            self._progress(start, size)
            self._grow(part)
        self._compare(stored)
        for problem, query in _STRAYS:
            if (index := self._connection.execute(query, {"leaves": SUBTREE_LEAVES}).get) is not None:
                raise Fault(index, f"event {index} {problem}")
        for table in _DERIVED:
            damage = self._connection.execute(f"PRAGMA integrity_check({table})").get
            if damage != "ok":
                raise Fault(size - 1, f"the index of table {table} of events 0 to {size - 1} is damaged ({damage})")
        self._check_rows(lists, size)
        self._progress(size, size)

    def _check_rows(self, lists: Sequence[_Given], size: int) -> None:
        """Compare what is derived from the events with them, which are sound by now."""
        keeping = self._crew.submit(["keeping"])
        others = [self._crew.submit(task) for task in self._other_tasks(size)]
        self._answer(keeping)
        told = Told(until=size)
        for part in lists:
            told.join(self._answer(part)["agents"])
        check_agents(self._connection, told, size)
        for other in others:
            self._answer(other)

    def _other_tasks(self, size: int) -> Iterator[Task]:
        """Yield what is left to compare, each from the first event on that tells of it."""
        books = [index for kind, index in self._first.items() if changes_books(kind)]
        yield ["books", min(books, default=size)]
        yield ["approvals", min((self._first.get(kind, size) for kind in APPROVAL_EVENTS), default=size)]
        yield ["grants", min((self._first.get(kind, size) for kind in GRANT_EVENTS), default=size)]
        yield ["edges"]

    def _trace_tasks(self, size: int) -> Iterator[Task]:
        # Rows are counted, because a number may be anything; what stands behind the last row is seen by its task.
        count = self._connection.execute("SELECT count(*) FROM trace").get
        step = self._helpers.traces_per_task
        last = max(0, count - 1) // step * step
        for first in range(0, last + 1, step):
            yield [TRACES, first, None if first == last else first + step, size]

    def _leaf_tasks(self, size: int) -> Iterator[tuple[int, Task]]:
        step = self._helpers.leaves_per_task
        for start in range(0, size, step):
            yield start, [LEAVES, start, min(start + step, size)]

    def _answer(self, given: _Given) -> dict[str, Any]:
        answer = self._crew.result(given)
        if fault := fault_in(answer):
            raise fault
        if answer["unreadable"]:
            raise _UnreadableError
        return answer

    def _grow(self, part: _Given) -> None:
        answer = self._crew.result(part)
        for root in answer["roots"]:
            self._tree.append(bytes.fromhex(root))
        for leaf in answer["newest"]:
            self._newest.append(bytes.fromhex(leaf))
        for kind, index in answer["first"].items():
            self._first.setdefault(kind, index)
        self._answer(part)

    def _compare(self, stored: Frontier) -> None:
        start = 0
        peaks = zip((*self._tree.peaks, *self._newest.peaks), stored.peaks, _leaves_under(stored.size), strict=True)
        for recomputed, kept, leaves in peaks:
            if recomputed != kept:
                raise Fault(start, f"events {start} to {start + leaves - 1} are not those of the stored root")
            start += leaves


def _leaves_under(size: int) -> list[int]:
    """Return how many leaves each peak of a tree of ``size`` leaves covers, largest first."""
    return [1 << height for height in reversed(range(size.bit_length())) if size >> height & 1]
