"""The leaves of a log, a range at a time: every one from its body, and all that stands beside it from its body too.

A range can be checked by another process: what comes of it is small, and joined with that of the ranges before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import apsw
import orjson

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.keeping_verification import Erasures
from aisecops_server.adapters.sqlite.schema import SUBTREE_LEAVES
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.domain.events.event import CONCLUDED, PAYLOAD_VERSION, SCHEMA_VERSION, Stage, commits_to
from aisecops_server.domain.events.payload import commitment
from aisecops_server.domain.log.merkle import complete_root, leaf_hash

_LEAVES = """
    SELECT e.idx, event_id, trace_id, plan_id, decision_id, stage, type, occurred_at, leaf_hash, body, y.bytes
    FROM event AS e LEFT JOIN payload AS y ON y.idx = e.idx WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx"""

_DECISIONS = """
    SELECT d.outcome_idx, d.decision_id, d.document_digest, t.trace_id, x.bytes
    FROM decision AS d
    LEFT JOIN trace AS t ON t.number = d.trace
    LEFT JOIN document AS x ON x.digest = d.document_digest
    WHERE d.outcome_idx >= ? AND d.outcome_idx < ? ORDER BY d.outcome_idx"""

_sha256 = hashlib.sha256


@dataclass(slots=True)
class CheckedLeaves:
    """What a range holds, as far as it was checked.

    The roots of its complete subtrees, the leaves behind them, and the first event of each type.
    """

    roots: list[bytes] = field(default_factory=list)
    newest: list[bytes] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)


def check_leaves(connection: apsw.Connection, start: int, end: int, found: CheckedLeaves) -> None:
    """Check events from ``start``, where a subtree begins, up to ``end``, and tell in ``found`` what was sound.

    Raises:
        Fault: the first thing that does not agree.
        UnicodeDecodeError, TypeError: something cannot be read.
    """
    erasures = Erasures(connection)
    for at in range(start, end, SUBTREE_LEAVES):
        _check_part(connection, (at, min(at + SUBTREE_LEAVES, end)), erasures, found)


def _check_part(connection: apsw.Connection, span: tuple[int, int], erasures: Erasures, found: CheckedLeaves) -> None:
    rows = connection.execute(_LEAVES, span).fetchall()
    _grow(connection, span[0], _leaves(rows, *span), found)
    _check_columns(rows, erasures)
    _check_decisions(connection, rows, span, erasures)
    for kind in {str(row[6]) for row in rows} - found.first.keys():
        found.first[kind] = next(at for at, row in enumerate(rows, span[0]) if row[6] == kind)


def _grow(connection: apsw.Connection, start: int, leaves: list[bytes], found: CheckedLeaves) -> None:
    if len(leaves) < SUBTREE_LEAVES:
        found.newest += leaves
        return
    root = complete_root(leaves)
    stored = connection.execute("SELECT hash FROM subtree WHERE number = ?", (start // SUBTREE_LEAVES,)).get
    if stored != root:
        raise Fault(start, f"events {start} to {start + len(leaves) - 1} are not those of their subtree")
    found.roots.append(root)


def _check_decisions(
    connection: apsw.Connection, rows: Sequence[Row], span: tuple[int, int], erasures: Erasures
) -> None:
    concluded = {row[0] for row in rows if row[6] == CONCLUDED and row[5] == Stage.OUTCOME.value}
    for decision in connection.execute(_DECISIONS, span):
        index = decision[0]
        concluded.discard(index)
        _check_decision(rows[index - span[0]], decision, erasures)
    if concluded:
        index = min(concluded)
        raise Fault(index, f"event {index}: its decision is missing from the index")


def checked_leaves(connection: apsw.Connection, start: int, end: int) -> list[bytes]:
    """Return the leaf hashes of events from ``start`` up to ``end``, recomputed.

    Raises:
        Fault: one is missing, or its body is another.
        UnicodeDecodeError, TypeError: one cannot be read.
    """
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
