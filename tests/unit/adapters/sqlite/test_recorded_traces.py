"""The store of recorded traces joins, counts, resumes and survives being closed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aisecops_server.adapters.sqlite.recorded_traces import RecordedCopies, SqliteRecordedTraces
from aisecops_server.domain.errors import IntegrityError, LogUnavailableError
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import (
    Evaluation,
    RecordedCall,
    RecordedPrompt,
    RecordedTrace,
    Tally,
)

CALL = RecordedCall("s1", "desk/find", "{}", "found", 1)
TRACE = RecordedTrace("a" * 32, "agent", "", "production", (RecordedPrompt(SourceKind.USER_PROMPT, "find"),), (CALL,))
LATER = replace(CALL, span_id="s2", started_at_ns=2, result=None)
ALLOWED = Evaluation(TRACE.trace_id, "s1", "agent", "desk/find", "r1", "ALLOW", (), "d1")
DENIED = Evaluation(TRACE.trace_id, "s2", "agent", "desk/find", "r1", "DENY", ("a.b",), "d2")


@pytest.mark.asyncio
async def test_traces_come_back_as_they_were_even_after_a_restart(tmp_path):
    store = SqliteRecordedTraces(tmp_path / "traces.db")
    assert await store.add([TRACE]) == 1
    await store.close()
    store = SqliteRecordedTraces(tmp_path / "traces.db")
    assert await store.page(after="", limit=5) == [TRACE]
    await store.close()


@pytest.mark.asyncio
async def test_parts_of_one_trace_are_joined_and_repeats_change_nothing(tmp_path):
    store = SqliteRecordedTraces(tmp_path / "traces.db")
    assert await store.add([TRACE]) == 1
    assert await store.add([replace(TRACE, calls=(LATER,)), TRACE]) == 0
    (joined,) = await store.page(after="", limit=5)
    assert joined == replace(TRACE, calls=(CALL, LATER))
    assert await store.calls() == 2
    await store.close()


@pytest.mark.asyncio
async def test_pages_go_on_behind_the_last_trace(tmp_path):
    store = SqliteRecordedTraces(tmp_path / "traces.db")
    await store.add([replace(TRACE, trace_id=letter * 32) for letter in "cab"])
    first = await store.page(after="", limit=2)
    rest = await store.page(after=first[-1].trace_id, limit=2)
    assert [trace.trace_id[0] for trace in (*first, *rest)] == ["a", "b", "c"]
    await store.close()


@pytest.mark.asyncio
async def test_only_what_was_decided_on_the_revision_counts_as_evaluated(tmp_path):
    store = SqliteRecordedTraces(tmp_path / "traces.db")
    failed = replace(DENIED, outcome="", error="no engine")
    await store.record([ALLOWED, failed, replace(DENIED, revision="r2")])
    assert await store.evaluated("r1", [TRACE.trace_id]) == {(TRACE.trace_id, "s1")}
    await store.record([DENIED])
    assert await store.evaluations("r1") == [ALLOWED, DENIED]
    assert await store.tallies("r1") == [
        Tally("agent", "desk/find", "ALLOW", (), 1),
        Tally("agent", "desk/find", "DENY", ("a.b",), 1),
    ]
    await store.close()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "traces.db"
    path.write_bytes(b"nothing of the kind" * 500)
    with pytest.raises((IntegrityError, LogUnavailableError)):
        SqliteRecordedTraces(path)


@pytest.mark.asyncio
async def test_what_is_forgotten_is_gone_from_the_file(tmp_path):
    path = tmp_path / "traces.db"
    store = SqliteRecordedTraces(path)
    others = replace(TRACE, trace_id="b" * 32, prompts=(RecordedPrompt(SourceKind.USER_PROMPT, "Harmless-Kettle-12"),))
    await store.add([replace(TRACE, prompts=(RecordedPrompt(SourceKind.USER_PROMPT, "Zanzibar-Quilt-77"),)), others])
    await store.record([ALLOWED, replace(ALLOWED, trace_id=others.trace_id)])
    copies = RecordedCopies(path)
    assert copies.agents([TRACE.trace_id, "c" * 32]) == {"agent"}
    await copies.forget([TRACE.trace_id, "c" * 32])
    assert await store.page(after="", limit=10) == [others]
    assert [item.trace_id for item in await store.evaluations("r1")] == [others.trace_id]
    await store.close()
    assert copies.drop([TRACE.trace_id, others.trace_id]) == [others.trace_id]
    on_disk = b"".join(held.read_bytes() for held in tmp_path.iterdir())
    assert b"Zanzibar-Quilt-77" not in on_disk
    assert b"Harmless-Kettle-12" not in on_disk


@pytest.mark.asyncio
async def test_where_nothing_was_imported_there_is_nothing_to_forget(tmp_path):
    await RecordedCopies(tmp_path / "traces.db").forget(["a" * 32])
    assert list(tmp_path.iterdir()) == []
