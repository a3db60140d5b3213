"""The writer's side of the trace index: numbers, summaries, and the bits that say which traces have which term.

Only the writer's thread uses it, inside its transaction. Blocks of bits that change often stay in memory;
``forget`` drops them after a transaction that did not commit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import apsw
import orjson

from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.schema import BLOCK_TRACES
from aisecops_server.adapters.sqlite.statements import Question, Row, insert, select_in
from aisecops_server.adapters.sqlite.trace_proofs import proven_traces
from aisecops_server.domain.log.record import DecisionRecord, TraceSummary
from aisecops_server.domain.traces.trace_summary import joined, opened

SUMMARY_COLUMNS = (
    "trace_id, agent_id, outcome, mode, intent, tools, rules, lowest_trust, bundle_revision, decisions,"
    " started_at, last_at, agents"
)
FIGURE_COLUMNS = "effects, steps, tokens, micro_usd, budget_share, gates"
_WHOLE = "f.number IS NOT NULL"
_SELECTED = ", ".join(
    [
        *(f"t.{name}" for name in SUMMARY_COLUMNS.split(", ")),
        "ifnull(f.effects, '[]')",
        *(f"ifnull(f.{name}, 0)" for name in FIGURE_COLUMNS.split(", ")[1:-1]),
        "ifnull(f.gates, '')",
    ]
)
# Figures that count fewer decisions than there are count for nothing: they are about to be filled.
LISTED = "trace AS t LEFT JOIN trace_figure AS f ON f.number = t.number AND f.decisions = t.decisions"
# The number of a trace and the columns that ``summary_of`` reads.
SUMMARIES = f"SELECT t.number, {_SELECTED} FROM {LISTED} WHERE"  # noqa: S608 - constant columns
_KNOWN = f"SELECT t.number, {_WHOLE}, {_SELECTED} FROM {LISTED} WHERE t.trace_id IN"  # noqa: S608 - constant columns

_FOLLOWING = "SELECT ifnull(max(number), -1) + 1 FROM trace"
_BLOCK = "SELECT term, bits FROM trace_posting WHERE block = ?"

# Where the columns of several values stand.
_LISTS = (5, 6, 12, 13)
_TERMS_IN_MEMORY = 50_000

Term = tuple[str, str]


def summary_of(row: Row) -> TraceSummary:
    """Return the summary in a row of ``SUMMARIES``, behind its number."""
    fields = [*row]
    for at in _LISTS:
        fields[at] = tuple(orjson.loads(fields[at]))
    return TraceSummary(*fields)


def summary_row(summary: TraceSummary) -> Row:
    """Return the row of ``SUMMARY_COLUMNS`` that holds ``summary``."""
    return (
        summary.trace_id,
        summary.agent_id,
        summary.outcome,
        summary.mode,
        summary.intent,
        orjson.dumps(summary.tools).decode(),
        orjson.dumps(summary.rules).decode(),
        summary.lowest_trust,
        summary.bundle_revision,
        summary.decisions,
        summary.started_at_ns,
        summary.last_at_ns,
        orjson.dumps(summary.agents).decode(),
    )


def figure_row(summary: TraceSummary) -> Row:
    """Return the figures of ``summary`` as ``FIGURE_COLUMNS`` hold them, behind how many decisions they count."""
    return (
        summary.decisions,
        orjson.dumps(summary.effects).decode(),
        summary.steps,
        summary.tokens,
        summary.micro_usd,
        summary.budget_share,
        summary.gates,
    )


def _keys(trace_ids: Iterable[str]) -> tuple[Row, ...]:
    return tuple((trace_id,) for trace_id in sorted(trace_ids))


def values_of(summary: TraceSummary) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what a trace can be found by, as each kind of term with its values."""
    return (
        ("agent", summary.agents),
        ("outcome", (summary.outcome,)),
        ("mode", (summary.mode,)),
        ("trust", (summary.lowest_trust,)),
        ("revision", (summary.bundle_revision,)),
        ("tool", summary.tools),
        ("rule", summary.rules),
        ("effect", summary.effects),
    )


def terms_of(summary: TraceSummary) -> set[Term]:
    """Return what a trace can be found by."""
    return {(kind, value) for kind, values in values_of(summary) for value in values}


def bits_of(stored: bytes) -> int:
    """Return the bits of one posting; bit 0 is the block's first trace."""
    return int.from_bytes(stored, "little")


def stored_bits(bits: int) -> bytes:
    """Return the form in which bits are stored: without the empty end."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


class TraceIndex:
    """Keeps the tables about traces in step with the decisions that are stored."""

    def __init__(self, connection: apsw.Connection, *, blocks_in_memory: int = 16) -> None:
        self._connection = connection
        self._blocks_in_memory = blocks_in_memory
        self._terms: dict[Term, int] = {}
        self._blocks: OrderedDict[int, dict[int, int]] = OrderedDict()
        # The block that the next trace comes into, and whether the commit before found that another process had added.
        self._newest = 0
        self._is_shared = False

    def forget(self) -> None:
        """Drop what was learnt in a transaction that did not commit."""
        self._terms.clear()
        self._blocks.clear()

    def reread(self) -> None:
        """Drop what another process may have changed since: bits, and never the number of a term."""
        self._blocks.clear()
        self._is_shared = True

    def questions(self, records: Sequence[DecisionRecord]) -> list[Question]:
        """Return what ``add`` is going to ask, as far as is known: nothing that it does not ask is wrong to read."""
        if not records:
            return []
        was_shared, self._is_shared = self._is_shared, False
        is_read = was_shared or self._newest not in self._blocks
        known = Question(_KNOWN, keys=_keys({record.decision.trace_id for record in records}))
        return [known, Question(_FOLLOWING), *([Question(_BLOCK, (self._newest,))] if is_read else [])]

    def add(self, records: Sequence[DecisionRecord]) -> dict[str, int]:
        """Index ``records``; return the number of each trace that they belong to."""
        return self.add_summaries([opened(record) for record in records])

    def add_summaries(self, decisions: Sequence[TraceSummary]) -> dict[str, int]:
        """Index decisions, each as the summary of a trace that has only it; return the number of each trace."""
        before = self._stored({decision.trace_id for decision in decisions})
        numbers = {trace_id: number for trace_id, (number, _) in before.items()}
        after: dict[str, TraceSummary] = {}
        for decision in decisions:
            trace_id = decision.trace_id
            known = after.get(trace_id) or (before[trace_id][1] if trace_id in before else None)
            after[trace_id] = joined(known, decision) if known else decision
            numbers.setdefault(trace_id, -1)
        self._number(numbers)
        # What asks comes before what only writes.
        posted = self._posted(numbers, {trace_id: summary for trace_id, (_, summary) in before.items()}, after)
        self._store(numbers, after)
        insert(self._connection, "INSERT OR REPLACE INTO trace_posting", posted)
        # Only now: until its bits are written, memory is the only place that has them.
        while len(self._blocks) > self._blocks_in_memory:
            self._blocks.popitem(last=False)
        return numbers

    def _stored(self, trace_ids: Iterable[str]) -> dict[str, tuple[int, TraceSummary]]:
        rows = select_in(self._connection, _KNOWN, _keys(trace_ids))
        found = [(row[0], summary_of(row[2:]) if row[1] else self._proven(row[0])) for row in rows]
        return {summary.trace_id: (number, summary) for number, summary in found}

    def _proven(self, number: int) -> TraceSummary:
        """Return the summary of a trace that an earlier program wrote, from its events.

        Raises:
            apsw.CorruptError: they do not say it.
        """
        try:
            return proven_traces(self._connection, number, number + 1)[number].summary
        except (Fault, KeyError) as fault:
            raise apsw.CorruptError(f"the events of trace number {number} do not say what it was") from fault

    def _number(self, numbers: dict[str, int]) -> None:
        if -1 not in numbers.values():
            return
        following = int(self._connection.execute(_FOLLOWING).get)
        for trace_id, number in numbers.items():
            if number < 0:
                numbers[trace_id] = following
                following += 1
        self._newest = following // BLOCK_TRACES

    def _store(self, numbers: Mapping[str, int], summaries: Mapping[str, TraceSummary]) -> None:
        rows = [(numbers[trace_id], *summary_row(summary)) for trace_id, summary in summaries.items()]
        insert(self._connection, "INSERT OR REPLACE INTO trace", rows)
        self.store_figures([(numbers[trace_id], summary) for trace_id, summary in summaries.items()])
        spans: dict[int, tuple[int, int]] = {}
        for trace_id, summary in summaries.items():
            block, at = numbers[trace_id] // BLOCK_TRACES, summary.started_at_ns
            earliest, latest = spans.get(block, (at, at))
            spans[block] = (min(earliest, at), max(latest, at))
        insert(
            self._connection,
            "INSERT INTO trace_block",
            [(block, *span) for block, span in spans.items()],
            "ON CONFLICT (number) DO UPDATE SET earliest = min(trace_block.earliest, excluded.earliest),"
            " latest = max(trace_block.latest, excluded.latest)",
        )

    def store_figures(self, summaries: Sequence[tuple[int, TraceSummary]]) -> None:
        """Write the figures of traces, each with its number."""
        rows = [(number, *figure_row(summary)) for number, summary in summaries]
        insert(self._connection, "INSERT OR REPLACE INTO trace_figure", rows)

    def _posted(
        self, numbers: Mapping[str, int], before: Mapping[str, TraceSummary], after: Mapping[str, TraceSummary]
    ) -> list[Row]:
        """Turn the bits of what traces have and had not, or had and have not, and return the rows that hold them."""
        changed: dict[tuple[int, int], int] = {}
        turned = {
            trace_id: terms_of(summary) ^ (terms_of(before[trace_id]) if trace_id in before else set())
            for trace_id, summary in after.items()
        }
        ids = self._term_ids({term for terms in turned.values() for term in terms})
        for trace_id, terms in turned.items():
            number, bit = divmod(numbers[trace_id], BLOCK_TRACES)
            block = self._block(number)
            for term in terms:
                block[ids[term]] = changed[number, ids[term]] = block.get(ids[term], 0) ^ (1 << bit)
        return [(block, term, stored_bits(bits)) for (block, term), bits in changed.items()]

    def _block(self, number: int) -> dict[int, int]:
        block = self._blocks.get(number)
        if block is None:
            rows = self._connection.execute(_BLOCK, (number,))
            block = self._blocks[number] = {term: bits_of(bits) for term, bits in rows}
        self._blocks.move_to_end(number)
        return block

    def _term_ids(self, terms: set[Term]) -> dict[Term, int]:
        if len(self._terms) > _TERMS_IN_MEMORY:
            self._terms.clear()
        missing = sorted(term for term in terms if term not in self._terms)
        if missing:
            insert(self._connection, "INSERT OR IGNORE INTO term (kind, value)", missing)
            rows = select_in(self._connection, "SELECT kind, value, id FROM term WHERE (kind, value) IN", missing)
            self._terms.update({(kind, value): number for kind, value, number in rows})
        return {term: self._terms[term] for term in terms}
