"""A trace is read whole, and nothing of it that was changed beside the log is shown."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.domain.errors import IntegrityError

from tests.scenes.log.records import Records

TRACE = "a" * 32
_CONCLUDED = "(SELECT outcome_idx FROM decision ORDER BY outcome_idx LIMIT 1)"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE event SET body = CAST(body || ' ' AS BLOB) WHERE type = 'plan.received'", "body does not match"),
        ("UPDATE event SET stage = 'elsewhere' WHERE idx = 0", "unknown stage"),
        (f"UPDATE event SET body = CAST(body || ' ' AS BLOB) WHERE idx = {_CONCLUDED}", "body does not match"),
        ("UPDATE payload SET bytes = CAST(bytes || ' ' AS BLOB)", "payload is not the one"),
        ("UPDATE document SET bytes = x'7b7d'", "document is missing or altered"),
        ("DELETE FROM document", "document is missing or altered"),
        (f"UPDATE event SET trace_id = 'elsewhere' WHERE idx = {_CONCLUDED}", "concludes no decision of its trace"),
        (f"DELETE FROM event WHERE idx = {_CONCLUDED}", "concludes no decision of its trace"),
    ],
)
@pytest.mark.asyncio
async def test_what_was_changed_beside_the_log_is_not_shown(tmp_path: Path, change: str, told: str) -> None:
    path, make = tmp_path / "audit.db", Records()
    log = open_log(path, LogOptions(minimum_free_bytes=0))
    await log.append_many([make.record(trace_id=TRACE) for _ in range(3)])
    assert len((await log.trace(TRACE)).decisions) == 3
    await log.close()
    with apsw.Connection(str(path)) as connection:
        connection.execute(change)
    log = open_log(path, LogOptions(minimum_free_bytes=0))
    try:
        for read in (log.trace, log.outline):
            with pytest.raises(IntegrityError, match=told):
                await read(TRACE)
    finally:
        await log.close()
