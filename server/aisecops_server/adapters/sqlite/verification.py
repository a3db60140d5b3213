"""Does the database still say what was written? Every leaf from its body, every index entry from its leaf.

Nothing is ever repaired here. ``startup_problem`` is the bounded check before the log takes anything again;
``Verification`` is the whole one and may run beside the writer, on the part of the log that is there when it begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import apsw
import orjson

from aisecops_server.adapters.sqlite.agent_activity import check_agents
from aisecops_server.adapters.sqlite.append import load_frontier
from aisecops_server.adapters.sqlite.approval_verification import check_approvals
from aisecops_server.adapters.sqlite.budget_verification import check_books
from aisecops_server.adapters.sqlite.edge_table import check_edges
from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.grant_verification import check_grants
from aisecops_server.adapters.sqlite.keeping_verification import Erasures, check_keeping
from aisecops_server.adapters.sqlite.schema import SUBTREE_LEAVES
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.adapters.sqlite.trace_verification import check_traces
from aisecops_server.domain.event import CONCLUDED, PAYLOAD_VERSION, SCHEMA_VERSION, Stage, commits_to
from aisecops_server.domain.merkle import Frontier, complete_root, leaf_hash
from aisecops_server.domain.payload import commitment
from aisecops_server.domain.record import LogHead, LogReport

_LEAVES = """
    SELECT e.idx, event_id, trace_id, plan_id, decision_id, stage, type, occurred_at, leaf_hash, body, y.bytes
    FROM event AS e LEFT JOIN payload AS y ON y.idx = e.idx WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx"""

_DECISIONS = """
    SELECT d.outcome_idx, d.decision_id, d.document_digest, t.trace_id, x.bytes
    FROM decision AS d
    LEFT JOIN trace AS t ON t.number = d.trace
    LEFT JOIN document AS x ON x.digest = d.document_digest
    WHERE d.outcome_idx >= ? AND d.outcome_idx < ? ORDER BY d.outcome_idx"""

# What must find nothing, and what it says when it does. A retry key is compared with the principal that its
# decision names, where it names one.
_STRAYS = (
    (
        "has an index that the log never gave",
        """
        SELECT min(idx) FROM (
            SELECT min(idx) AS idx FROM event WHERE idx < 0
            UNION ALL SELECT min(idx) FROM event WHERE idx >= (SELECT size FROM log_head)
        )""",
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
        WHERE d.request_digest IS NOT i.request_digest""",
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

_LEAVES_PER_REPORT = 16 * SUBTREE_LEAVES

_sha256 = hashlib.sha256


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
    if subtrees and complete_root(_checked_leaves(connection, edge - SUBTREE_LEAVES, edge)) != subtrees[-1]:
        return f"the newest complete subtree is not the root of events {edge - SUBTREE_LEAVES} to {edge - 1}"
    large, small = Frontier(), Frontier()
    for root in subtrees:
        large.append(root)
    for leaf in _checked_leaves(connection, edge, frontier.size):
        small.append(leaf)
    if (*large.peaks, *small.peaks) != frontier.peaks:
        return "the stored right edge is not the one that the stored events give"
    return ""


def _checked_leaves(connection: apsw.Connection, start: int, end: int) -> list[bytes]:
    return _leaves(connection.execute(_LEAVES, (start, end)).fetchall(), start, end)


def _leaves(rows: Sequence[Row], start: int, end: int) -> list[bytes]:
    """Return the leaf hashes of ``rows``, recomputed, if they are the whole of ``start`` to ``end``."""
    leaves = [_sha256(b"\x00" + row[9]).digest() for row in rows]
    # Indices are unique and in order, so the first, the last and their number settle that none is missing.
    is_whole = len(rows) == end - start and (not rows or (rows[0][0], rows[-1][0]) == (start, end - 1))
    if is_whole and leaves == [row[8] for row in rows]:
        return leaves
    for index, row in zip(range(start, end), rows, strict=False):
        if row[0] != index:
            raise Fault(index, f"event {index} is missing")
        if leaf_hash(row[9]) != row[8]:
            raise Fault(index, f"event {index}: its body does not match its leaf hash")
    raise Fault(start + len(rows), f"event {start + len(rows)} is missing")


class Verification:
    """One full verification."""

    def __init__(self, connection: apsw.Connection, progress: Callable[[int, int], None]) -> None:
        self._connection = connection
        self._progress = progress
        self._tree = Frontier()
        self._newest = Frontier()
        self._erasures = Erasures(connection)

    def run(self) -> LogReport:
        """Recompute everything; stops at the first thing that does not agree."""
        try:
            stored = load_frontier(self._connection)
        except (ValueError, TypeError) as error:
            return LogReport(LogHead(0, b""), LogHead(0, b""), f"the stored head is no head of a tree ({error})", None)
        problem, index = "", None
        try:
            self._check(stored)
        except Fault as fault:
            problem, index = fault.problem, fault.index
        except (UnicodeDecodeError, TypeError):
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
                _checked_leaves(self._connection, index, index + 1)
            except (UnicodeDecodeError, TypeError):
                return index
        # Its leaf is sound, so what cannot be read stands in an index entry of the part that was checked last.
        return max(checked - 1, 0) // SUBTREE_LEAVES * SUBTREE_LEAVES

    def _check(self, stored: Frontier) -> None:
        size = stored.size
        for start in range(0, size, SUBTREE_LEAVES):
            if start % _LEAVES_PER_REPORT == 0:
                self._progress(start, size)
            self._check_part(start, min(start + SUBTREE_LEAVES, size))
        self._compare(stored)
        for problem, query in _STRAYS:
            if (index := self._connection.execute(query, {"leaves": SUBTREE_LEAVES}).get) is not None:
                raise Fault(index, f"event {index} {problem}")
        for table in _DERIVED:
            damage = self._connection.execute(f"PRAGMA integrity_check({table})").get
            if damage != "ok":
                raise Fault(size - 1, f"the index of table {table} of events 0 to {size - 1} is damaged ({damage})")
        # Last, because the decisions that say what a trace is have to be sound by then.
        check_keeping(self._connection)
        check_traces(self._connection)
        check_agents(self._connection)
        check_books(self._connection)
        check_approvals(self._connection)
        check_grants(self._connection)
        check_edges(self._connection)
        self._progress(size, size)

    def _compare(self, stored: Frontier) -> None:
        start = 0
        peaks = zip((*self._tree.peaks, *self._newest.peaks), stored.peaks, _leaves_under(stored.size), strict=True)
        for recomputed, kept, leaves in peaks:
            if recomputed != kept:
                raise Fault(start, f"events {start} to {start + leaves - 1} are not those of the stored root")
            start += leaves

    def _check_part(self, start: int, end: int) -> None:
        rows = self._connection.execute(_LEAVES, (start, end)).fetchall()
        leaves = _leaves(rows, start, end)
        self._grow(start, leaves)
        _check_columns(rows, self._erasures)
        self._check_decisions(rows, start, end)

    def _grow(self, start: int, leaves: list[bytes]) -> None:
        if len(leaves) < SUBTREE_LEAVES:
            for leaf in leaves:
                self._newest.append(leaf)
            return
        root = complete_root(leaves)
        number = start // SUBTREE_LEAVES
        stored = self._connection.execute("SELECT hash FROM subtree WHERE number = ?", (number,)).get
        if stored != root:
            raise Fault(start, f"events {start} to {start + len(leaves) - 1} are not those of their subtree")
        self._tree.append(root)

    def _check_decisions(self, rows: Sequence[Row], start: int, end: int) -> None:
        concluded = {row[0] for row in rows if row[6] == CONCLUDED and row[5] == Stage.OUTCOME.value}
        for decision in self._connection.execute(_DECISIONS, (start, end)):
            index = decision[0]
            concluded.discard(index)
            _check_decision(rows[index - start], decision, self._erasures)
        if concluded:
            index = min(concluded)
            raise Fault(index, f"event {index}: its decision is missing from the index")


def _leaves_under(size: int) -> list[int]:
    """Return how many leaves each peak of a tree of ``size`` leaves covers, largest first."""
    return [1 << height for height in reversed(range(size.bit_length())) if size >> height & 1]


def _check_columns(rows: Sequence[Row], erasures: Erasures) -> None:
    """Compare the columns of events with their bodies.

    A body is canonical JSON, so its first and last keys stand at known places; only one with unusual characters
    has to be parsed.
    """
    latest, opening = None, b""
    for row in rows:
        _, event_id, trace_id, plan_id, decision_id, stage, kind, at, _, body, payload = row
        version, mark = (PAYLOAD_VERSION, f',"payload":"{commitment(payload)}"') if payload else (SCHEMA_VERSION, "")
        if decision_id != latest:
            latest, opening = decision_id, f'{{"decision_id":"{decision_id}","details":'.encode()
        closing = (
            f',"event_id":"{event_id}","occurred_at_micros":{at // 1000}{mark},"plan_id":"{plan_id}",'
            f'"schema_version":{version},"stage":"{stage}","trace_id":"{trace_id}","type":"{kind}"}}'
        )
        if at % 1000 or not (body.endswith(closing.encode()) and body.startswith(opening)):
            _check_parsed(row, erasures)


def _check_parsed(row: Row, erasures: Erasures) -> None:
    index, *columns, occurred_at, _, body, payload = row
    micros, nanos = divmod(occurred_at, 1000)
    fields = orjson.loads(body)
    names = ("event_id", "trace_id", "plan_id", "decision_id", "stage", "type")
    known = {**dict(zip(names, columns, strict=True)), "occurred_at_micros": micros if nanos == 0 else None}
    altered = sorted(name for name, value in known.items() if fields.get(name) != value)
    if altered:
        raise Fault(index, f"event {index}: {', '.join(altered)} differ from its body")
    if payload is None and "payload" in fields and not erasures.cover(row[2], index):
        raise Fault(index, f"event {index}: its payload is missing, and nothing says that it was erased")
    if payload is not None and not commits_to(body, payload):
        raise Fault(index, f"event {index}: its payload is not the one that it commits to")


def _check_decision(event: Row, decision: Row, erasures: Erasures) -> None:
    index, decision_id, digest, trace_id, document = decision
    body: bytes = event[9]
    problem = ""
    if (event[4], event[2]) != (decision_id, trace_id):
        problem = f"its decision, or its trace {event[2]}, differs from the index"
    elif document is None and not erasures.cover(trace_id, index):
        problem = "its document is missing, and nothing says that it was erased"
    elif document is not None and _sha256(document).digest() != digest:
        problem = "its document is altered"
    elif f'"document_digest":"{digest.hex()}"'.encode() not in body and _names_another(body, digest.hex()):
        problem = "its document is not the one that the decision names"
    if problem:
        raise Fault(index, f"event {index}: {problem}")


def _names_another(body: bytes, digest: str) -> bool:
    details = orjson.loads(body).get("details", {})
    return bool(details.get("document_digest", digest) != digest)
