"""Recorded decisions for replay: found by the trace index, read in a fixed order, checked before they are given.

Works on connections that cannot write. What an index of traces can answer narrows the search; the rest is decided on
each decision by whoever reads it, so places are a superset of what is selected. What is damaged or erased is not an
error here: a replay says of each decision why it cannot be decided again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import orjson

from aisecops_server.adapters.sqlite.append import load_frontier
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.adapters.sqlite.trace_index import Term
from aisecops_server.adapters.sqlite.trace_terms import ALL, matching_terms, narrow_by_terms
from aisecops_server.domain.compliance.compliance_state import Sighting
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import LogUnavailableError, NotFoundError
from aisecops_server.domain.events.event import CONCLUDED, commits_to, details_in
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.log_leaf import LogLeaf
from aisecops_server.domain.log.merkle import leaf_hash
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.log.trace_match import Relation, WordMatch, words_of
from aisecops_server.domain.plans.provenance import TrustLevel
from aisecops_server.domain.replays.document_drift import is_masked
from aisecops_server.domain.replays.recorded_decision import Doubt, Place, RecordedDecision
from aisecops_server.domain.replays.replay import Selection

_FOREVER = 2**63 - 1
_START = Place(-1, -1, b"")
_RESTRICTION = (Outcome.DENY, Outcome.REQUIRE_APPROVAL, Outcome.ALLOW)

_READ = """
    SELECT d.outcome_idx, d.decision_id, d.document_digest, e.leaf_hash, e.body, y.bytes, t.bytes, EXISTS (
        SELECT 1 FROM erasure AS x WHERE x.trace_id = e.trace_id AND e.idx <= x.through
    )
    FROM decision AS d
    LEFT JOIN event AS e ON e.idx = d.outcome_idx
    LEFT JOIN payload AS y ON y.idx = d.outcome_idx
    LEFT JOIN document AS t ON t.digest = d.document_digest
    WHERE"""
_LEAVES = """
    SELECT e.idx, e.leaf_hash, d.trace, d.decision_id, d.document_digest,
        CASE WHEN d.trace IS NULL THEN NULL ELSE e.body END, y.bytes, t.bytes
    FROM event AS e
    LEFT JOIN decision AS d ON d.outcome_idx = e.idx
    LEFT JOIN payload AS y ON y.idx = d.outcome_idx
    LEFT JOIN document AS t ON t.digest = d.document_digest
    WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx
"""
_PLACES = """
    SELECT d.trace, d.outcome_idx, ifnull(e.leaf_hash, x'')
    FROM decision AS d LEFT JOIN event AS e ON e.idx = d.outcome_idx
    WHERE {numbers} AND (d.trace, d.outcome_idx) > (?, ?) AND d.outcome_idx < ?
    ORDER BY d.trace, d.outcome_idx LIMIT ?"""
_COUNT = "SELECT count(*) FROM decision AS d WHERE {numbers} AND d.outcome_idx < ?"
_LISTED = "d.trace IN (SELECT value FROM json_each(?))"
_WHOLE = "d.trace >= ? AND d.trace < ?"


def open_history(path: Path) -> SqliteHistory:
    """Return the decisions of the log at ``path``, whether or not a process writes it.

    Raises:
        LogUnavailableError: there is no log.
    """
    if not path.is_file():
        raise LogUnavailableError(f"there is no log at {path}", hint="Start the control plane once, or name another")
    return SqliteHistory(Readers(path))


class SqliteHistory:
    """Implements ``History`` over the connections of a log that is only read."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def head(self) -> LogHead:
        """Return the log's size and Merkle root."""
        frontier = await self._readers.run(load_frontier)
        return LogHead(frontier.size, frontier.root())

    async def count(self, selection: Selection, *, until: int) -> int:
        """Return how many decisions below log index ``until`` lie in traces that may hold what is selected."""
        return await self._readers.run(partial(_count, selection=selection, until=until))

    async def places(self, selection: Selection, *, after: Place | None, limit: int, until: int) -> list[Place]:
        """Return where these decisions stand, by trace and index, from behind ``after`` on."""
        query = partial(_places, selection=selection, after=after or _START, limit=limit, until=until)
        return await self._readers.run(query)

    async def strata(self, selection: Selection, *, most: int, until: int) -> dict[str, list[Place]]:
        """Return places by what their decisions have in common; of more than ``most`` traces, evenly spread ones."""
        return await self._readers.run(partial(_strata, selection=selection, most=most, until=until))

    async def read(self, places: Sequence[Place]) -> list[RecordedDecision]:
        """Return the decisions at ``places``, in their order; what is damaged or gone is told by their doubt."""
        return await self._readers.run(partial(_read, indexes=[place.index for place in places]))

    async def of_trace(self, trace_id: str) -> list[RecordedDecision]:
        """Return the decisions of one trace, oldest first; none when there is no such trace."""
        query = f"{_READ} d.trace = (SELECT number FROM trace WHERE trace_id = ?) ORDER BY d.outcome_idx"  # noqa: S608 - constant parts
        return await self._readers.run(lambda held: [_recorded(row) for row in held.execute(query, (trace_id,))])

    async def decision(self, decision_id: str) -> RecordedDecision:
        """Return one decision.

        Raises:
            NotFoundError: there is none.
        """
        row = await self._readers.run(lambda held: held.execute(f"{_READ} d.decision_id = ?", (decision_id,)).get)
        if row is None:
            raise NotFoundError(
                f"there is no decision {decision_id}", hint="List traces with 'aisecops trace list'", id=decision_id
            )
        return _recorded(row)

    async def leaves(self, first: int, end: int) -> list[LogLeaf]:
        """Return the leaves from ``first`` to before ``end``, in order, with what is stored of decisions, unchecked."""
        return await self._readers.run(partial(_leaves, first=first, end=end))

    async def kinds(self, *, most: int) -> tuple[int, list[Sighting]]:
        """Return how many of the latest events were read, at most ``most``, and what kinds were among them."""
        return await self._readers.run(partial(_kinds, most=most))

    async def close(self) -> None:
        """Wait for running queries and close the connections."""
        self._readers.refuse()
        self._readers.close()


def _kinds(connection: apsw.Connection, most: int) -> tuple[int, list[Sighting]]:
    query = (
        "SELECT type, count(*), max(idx) FROM event WHERE idx > (SELECT max(idx) FROM event) - ?"
        " GROUP BY type ORDER BY type"
    )
    found = [Sighting(*row) for row in connection.execute(query, (most,))]
    return sum(sighting.count for sighting in found), found


def _leaves(connection: apsw.Connection, first: int, end: int) -> list[LogLeaf]:
    return [LogLeaf(*row) for row in connection.execute(_LEAVES, (first, end))]


def _read(connection: apsw.Connection, indexes: Sequence[int]) -> list[RecordedDecision]:
    query = f"{_READ} d.outcome_idx IN (SELECT value FROM json_each(?))"  # noqa: S608 - constant parts
    rows = {row[0]: row for row in connection.execute(query, (orjson.dumps(indexes).decode(),))}
    return [_recorded(rows[index]) for index in indexes]


def _recorded(row: Row) -> RecordedDecision:
    index, decision_id, document_digest, leaf, body, payload, document, is_erased = row
    if not isinstance(body, bytes) or leaf_hash(body) != leaf or (payload and not commits_to(body, payload)):
        # Of a record that was changed nothing can be believed, not even whose decision it was.
        return RecordedDecision(index, {"decision_id": decision_id}, b"", {}, Doubt.RECORD_ALTERED)
    details: Mapping[str, JsonValue] = details_in(CONCLUDED, body, payload)
    stored = document if isinstance(document, bytes) else b""
    content = content_of(stored)
    return RecordedDecision(
        index=index,
        details=details,
        document=stored,
        content=content,
        doubt=Doubt.DOCUMENT_MASKED
        if is_erased and not stored
        else _doubt(stored, document_digest, content, str(details.get("document_digest", ""))),
    )


def content_of(document: bytes) -> Mapping[str, JsonValue]:
    """Return what a stored document says; nothing where it is none."""
    try:
        content: Any = orjson.loads(document)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _doubt(document: bytes, digest: object, content: Mapping[str, JsonValue], recorded: str) -> Doubt | None:
    found = hashlib.sha256(document)
    if found.digest() == digest and recorded in ("", found.hexdigest()):
        return None
    if not document:
        return Doubt.DOCUMENT_MISSING
    return Doubt.DOCUMENT_MASKED if is_masked(content) else Doubt.DOCUMENT_ALTERED


def _count(connection: apsw.Connection, selection: Selection, until: int) -> int:
    found = 0
    for _, numbers, bindings in _traces(connection, selection):
        found += connection.execute(_COUNT.format(numbers=numbers), (*bindings, until)).get
    return found


def _places(connection: apsw.Connection, selection: Selection, *, after: Place, limit: int, until: int) -> list[Place]:
    found: list[Place] = []
    for _, numbers, bindings in _traces(connection, selection, first=max(0, after.trace) // BLOCK_TRACES):
        values = (*bindings, after.trace, after.index, until, limit - len(found))
        found += [Place(*row) for row in connection.execute(_PLACES.format(numbers=numbers), values)]
        if len(found) == limit:
            break
    return found


def _strata(connection: apsw.Connection, selection: Selection, most: int, until: int) -> dict[str, list[Place]]:
    """Return the places of all blocks of traces, or of evenly spread ones where there are more than ``most`` traces."""
    blocks = list(_traces(connection, selection))
    step = max(1, -(-len(blocks) * BLOCK_TRACES // most))
    found: dict[str, list[Place]] = {}
    query = (
        "SELECT d.trace, d.outcome_idx, ifnull(e.leaf_hash, x''), t.outcome, t.agent_id, t.rules FROM decision AS d"
        " LEFT JOIN event AS e ON e.idx = d.outcome_idx JOIN trace AS t ON t.number = d.trace"
        " WHERE {numbers} AND d.outcome_idx < ? ORDER BY d.trace, d.outcome_idx"
    )
    for _, numbers, bindings in blocks[::step]:
        for *place, outcome, agent_id, rules in connection.execute(query.format(numbers=numbers), (*bindings, until)):
            found.setdefault(f"{outcome}\n{agent_id}\n{rules}", []).append(Place(*place))
    return found


def _traces(
    connection: apsw.Connection, selection: Selection, *, first: int = 0
) -> Iterator[tuple[int, str, tuple[int | str, ...]]]:
    """Yield, block by block, an SQL condition on trace numbers, which holds for every trace that may be selected."""
    if selection.trace_ids:
        query = "SELECT number FROM trace WHERE trace_id IN (SELECT value FROM json_each(?)) ORDER BY number"
        rows = connection.execute(query, (orjson.dumps(selection.trace_ids).decode(),)).fetchall()
        yield 0, _LISTED, (orjson.dumps([number for (number,) in rows]).decode(),)
        return
    wanted = _wanted(connection, selection)
    blocks = [number for (number,) in connection.execute("SELECT number FROM trace_block ORDER BY number")]
    for block in blocks:
        if block < first:
            continue
        bits = _bits(connection, block, wanted) & _in_time(connection, block, selection)
        if bits == ALL:
            yield block, _WHOLE, (block * BLOCK_TRACES, (block + 1) * BLOCK_TRACES)
        elif bits:
            listed = [block * BLOCK_TRACES + at for at in range(BLOCK_TRACES) if bits >> at & 1]
            yield block, _LISTED, (orjson.dumps(listed).decode(),)


def _wanted(connection: apsw.Connection, selection: Selection) -> list[list[int]]:
    """Return what a trace must have: of each list of term ids at least one."""
    asked: list[list[Term]] = [
        [(kind, value)]
        for kind, value in (("agent", selection.agent_id), ("tool", selection.tool), ("rule", selection.rule))
        if value
    ]
    # A trace's outcome and trust are the worst of its decisions', so a decision stands in one as bad or worse.
    if selection.outcome and selection.outcome != Outcome.ALLOW:
        worst = _RESTRICTION[: _RESTRICTION.index(Outcome(selection.outcome)) + 1]
        asked.append([("outcome", outcome.value) for outcome in worst])
    if selection.trust:
        rank = TrustLevel(selection.trust).rank
        asked.append([("trust", level.value) for level in TrustLevel if level.rank >= rank])
    query = "SELECT id FROM term WHERE kind = ? AND value = ?"
    found = [[term for each in terms for (term,) in connection.execute(query, each)] for terms in asked]
    return found + [[*matching_terms(connection, match)] for match in map(_loosened, selection.beyond.words) if match]


def _bits(connection: apsw.Connection, block: int, wanted: Sequence[Sequence[int]]) -> int:
    bits = {block: ALL}
    for terms in wanted:
        narrow_by_terms(connection, bits, (tuple(terms), True))
    return bits[block]


def _loosened(match: WordMatch) -> WordMatch | None:
    """Return what a trace fits of which a decision fits ``match``; ``None`` where that says nothing of the trace."""
    if match.leaves_out or match.field not in ("agent_id", "tool", "rule", "trust", "effect"):
        return None
    if match.field == "trust":
        # A trace has the worst trust of its decisions.
        best = min(words_of(match), key=lambda word: TrustLevel(word).rank, default="")
        return replace(match, relation=Relation.AT_MOST, word=best) if best else match
    return match


def _in_time(connection: apsw.Connection, block: int, selection: Selection) -> int:
    if not selection.from_micros and not selection.to_micros:
        return ALL
    first = block * BLOCK_TRACES
    query = "SELECT number FROM trace WHERE number >= ? AND number < ? AND last_at >= ? AND started_at < ?"
    until = selection.to_micros * 1000 or _FOREVER
    rows = connection.execute(query, (first, first + BLOCK_TRACES, selection.from_micros * 1000, until))
    return sum(1 << number - first for (number,) in rows)
