"""Reading what is held and what was not erased yet, on the readers' connections."""

from __future__ import annotations

from functools import partial

import apsw
import orjson

from aisecops_server.adapters.sqlite.keeping_table import KeepingTable, holding, stored_hold
from aisecops_server.adapters.sqlite.readers import Readers
from aisecops_server.adapters.sqlite.statements import Row
from aisecops_server.adapters.sqlite.trace_index import SUMMARIES, summary_of
from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.log.record import TraceSummary
from aisecops_server.domain.retention.keeping import Hold, hold_of

_UNERASED = f"""
    {SUMMARIES} t.number > ? AND t.last_at <= ? AND NOT EXISTS (
        SELECT 1 FROM erasure AS x WHERE x.trace_id = t.trace_id
        AND x.through >= (SELECT max(d.outcome_idx) FROM decision AS d WHERE d.trace = t.number)
    )
    ORDER BY t.number LIMIT ?"""  # noqa: S608 - constant columns


class SqliteKeeping:
    """Implements ``KeepingStore``."""

    def __init__(self, readers: Readers, table: KeepingTable | None) -> None:
        self._readers = readers
        self._table = table

    async def unerased(self, *, last_before_ns: int, after: int, limit: int) -> list[tuple[int, TraceSummary]]:
        """Return traces that nothing was added to since then, with their numbers, from behind ``after`` on."""
        facts = (after, last_before_ns, limit)
        rows: list[Row] = await self._readers.run(lambda held: held.execute(_UNERASED, facts).fetchall())
        return [(number, summary_of(tuple(rest))) for number, *rest in rows]

    async def last_index(self, trace_id: str) -> int:
        """Return the log index of the newest event of a trace."""
        query = "SELECT max(idx) FROM event WHERE trace_id = ? AND trace_id <> ''"
        found = await self._readers.run(lambda held: held.execute(query, (trace_id,)).get)
        if found is None:
            raise NotFoundError(f"there is no trace {trace_id}", hint="See 'aisecops trace list'", id=trace_id)
        return int(found)

    async def holds(self, *, released: bool) -> list[Hold]:
        """Return the holds that last, oldest first; with ``released``, also those that do not."""
        return await self._readers.run(partial(_holds, most=int(released)))

    async def hold(self, hold_id: str) -> Hold:
        """Return one hold."""
        return await self._readers.run(partial(stored_hold, hold_id=hold_id))

    async def holding(self, trace: TraceSummary) -> list[str]:
        """Return the ids of the holds that name a trace or one of its agents."""
        agents = orjson.dumps(trace.agents).decode()
        return await self._readers.run(partial(holding, trace_id=trace.trace_id, agents=agents))

    def is_overwritten(self) -> bool:
        """Return whether nothing that was erased stands in the files of the store any more."""
        return self._table is not None and self._table.is_overwritten


def _holds(connection: apsw.Connection, most: int) -> list[Hold]:
    rows = connection.execute("SELECT body FROM hold WHERE released <= ? ORDER BY hold_id", (most,))
    return [hold_of(orjson.loads(body)) for (body,) in rows]
