"""What replays keep of recorded decisions, dropped when those are erased. All of it can be computed again."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from aisecops_server.adapters.sqlite.database import open_for_writing, translated
from aisecops_server.adapters.sqlite.statements import Row

_REPORTS = "SELECT replay_id, ifnull(early, x'') || ifnull(report, x'') FROM replay"


@dataclass(frozen=True, slots=True)
class ReplayCopies:
    """Implements ``Copies`` over the file of the replay store, which others may have open."""

    path: Path

    async def forget(self, trace_ids: Sequence[str]) -> None:
        """Drop what is remembered of any decision, and the results and reports that name one of these traces."""
        if self.path.exists():
            await asyncio.to_thread(self._forget, [trace_id.encode() for trace_id in trace_ids])

    def _forget(self, trace_ids: Sequence[bytes]) -> None:
        with translated("dropping what replays found"), contextlib.closing(open_for_writing(self.path)) as held:
            with held:
                # They hold the words of findings, and nothing that says of which trace.
                held.execute("DELETE FROM verdict; DELETE FROM conclusion")
                parts: list[Row] = held.execute("SELECT key, results FROM part").fetchall()
                for key, results in parts:
                    if _names(zlib.decompress(results), trace_ids):
                        held.execute("DELETE FROM part WHERE key = ?", (key,))
                reports: list[Row] = held.execute(_REPORTS).fetchall()
                for replay_id, told in reports:
                    if _names(bytes(told), trace_ids):
                        held.execute("DELETE FROM replay WHERE replay_id = ?", (replay_id,))
                        held.execute("DELETE FROM replay_part WHERE replay_id = ?", (replay_id,))
            with contextlib.suppress(apsw.BusyError):
                held.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _names(content: bytes, trace_ids: Sequence[bytes]) -> bool:
    return any(trace_id in content for trace_id in trace_ids)
