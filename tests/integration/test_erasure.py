"""Erasing on a control plane of real parts: the words are gone from the disk, and every proof stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
import pytest_asyncio
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_server.adapters.sqlite.event_log import SqliteEventLog
from aisecops_server.adapters.sqlite.history import open_history
from aisecops_server.adapters.sqlite.recorded_traces import SqliteRecordedTraces
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.domain.callers.identity import Principal, PrincipalId, Role
from aisecops_server.domain.errors import AisecopsError, ContendedError, HeldError, InvalidRequestError, NotFoundError
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.domain.recordings.recorded_trace import RecordedPrompt, RecordedTrace
from aisecops_server.domain.replays.recorded_decision import Doubt
from aisecops_server.domain.retention.keeping import HeldBy
from aisecops_server.settings import Settings
from aisecops_server.usecases.evidence.export_evidence import EvidenceRequest
from aisecops_server.usecases.evidence.investigate import Investigate
from aisecops_verify import EvidenceError, Trust, read_package, verify

from tests.fakes.clock import FakeClock
from tests.integration.api.real import running, settings_in

AUDITOR = Principal(PrincipalId("auditor@corp.example"), "token", frozenset({Role.AUDITOR}))
SECRET = "Zanzibar-Quilt-77"
OTHER = "Harmless-Kettle-12"
DAY = 24 * 3600


class Scene:
    """One control plane, and where it keeps what it knows."""

    def __init__(self, plane: ControlPlane, client: AsyncClient, settings: Settings) -> None:
        assert isinstance(plane.log, SqliteEventLog)
        self.plane, self.client, self.log, self.folder = plane, client, plane.log, settings.state_dir
        self.log_path = settings.log_path
        self.erase, self.holds = plane.retention.erase, plane.retention.holds

    async def decide(self, word: str, *, tool: str = "crm/unheard_of") -> str:
        plan = PlanBuilder(intent=f"look for {word}", environment="production")
        plan.source("user_prompt", f"Please look for {word}.")
        plan.step(tool, {"name": word, "email": f"{word}@corp.example"})
        return (await self.client.decide(plan, idempotency_key=f"key-{word}-{tool}")).decision.trace_id

    def on_disk(self, word: str) -> list[str]:
        """The files in which a word stands."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [path.name for path in files if word.encode() in path.read_bytes()]

    async def verified(self) -> str:
        return (await self.log.verify()).problem


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    settings = settings_in(tmp_path)
    async with running(settings) as (plane, client):
        yield Scene(plane, client, settings)


@pytest.mark.asyncio
async def test_what_was_written_is_gone_from_the_disk_and_every_proof_stays(scene: Scene) -> None:
    trace, other = await scene.decide(SECRET), await scene.decide(OTHER)
    before = await scene.log.head()
    leaves = [event.leaf_hash for event in (await scene.log.trace(trace)).events]
    assert "audit.db-wal" in scene.on_disk(SECRET) or "audit.db" in scene.on_disk(SECRET)
    with pytest.raises(InvalidRequestError):
        await scene.erase(trace, principal="dpo@corp.example", reason=" ")
    done = await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    assert done.overwritten
    assert scene.on_disk(SECRET) == []
    assert scene.on_disk(OTHER) != []
    assert await scene.verified() == ""
    assert await scene.log.head_at(before.size) == before
    read = await scene.log.trace(trace)
    assert [event.leaf_hash for event in read.events[: len(leaves)]] == leaves
    tombstone = read.events[-1].event
    assert (tombstone.type, tombstone.details()["principal"]) == ("payload.erased", "dpo@corp.example")
    assert tombstone.details()["reason"] == "request 4711"
    assert {"plan.received", "decision.concluded"} <= {item.event.type for item in read.events if item.event.is_erased}
    [decision] = read.decisions
    assert decision.is_erased
    assert (decision.details["outcome"], decision.details["explanation"]) == ("DENY", "")
    assert [finding["rule"] for finding in decision.details["findings"]] != []
    assert all(not finding["facts"] for finding in decision.details["findings"])
    assert (await scene.log.trace(other)).summary.intent == f"look for {OTHER}"


@pytest.mark.asyncio
async def test_an_imported_recording_of_a_trace_goes_with_it(scene: Scene) -> None:
    trace, other = await scene.decide(SECRET), await scene.decide(OTHER)
    store = SqliteRecordedTraces(scene.folder / "traces.db")
    recordings = [
        RecordedTrace(at, "agent", "", "production", (RecordedPrompt(SourceKind.USER_PROMPT, word),), ())
        for at, word in ((trace, SECRET), (other, OTHER))
    ]
    await store.add(recordings)
    await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    assert await store.page(after="", limit=10) == [recordings[1]]
    await store.close()
    assert scene.on_disk(SECRET) == []


@pytest.mark.asyncio
async def test_whoever_looks_later_is_told_that_it_was_erased(scene: Scene) -> None:
    trace, other = await scene.decide(SECRET), await scene.decide(OTHER)
    await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    [decision] = (await scene.log.trace(trace)).decisions
    explained = await scene.plane.explain(decision.decision_id, full=True)
    assert (explained.reproduced, "was erased" in explained.why_not) == (False, True)
    [recorded] = await _recorded(scene, trace)
    assert recorded is Doubt.DOCUMENT_MASKED
    assert await _recorded(scene, other) == [None]
    investigate = Investigate(scene.log, lambda data: {})
    graph = await investigate.graph(trace)
    assert any("was erased" in gap for gap in graph.gaps)
    assert graph.whole == 0
    assert (await investigate.diff(trace)).violations == ()
    package = await scene.plane.export(EvidenceRequest([trace, other]), principal=AUDITOR)
    assert SECRET.encode() not in package.content
    trust = Trust(scene.plane.publish.keys.public.text(), scene.plane.export.keys.ring.public.hex())
    report = verify(package.content, trust)
    assert any("1 decisions cannot be made again" in remark for remark in report.remarks)
    assert any(check.startswith("1 decisions, each") for check in report.checks)


async def _recorded(scene: Scene, trace: str) -> list[Doubt | None]:
    history = open_history(scene.log_path)
    try:
        return [decision.doubt for decision in await history.of_trace(trace)]
    finally:
        await history.close()


@pytest.mark.asyncio
async def test_what_is_missing_without_a_tombstone_is_damage_and_named(scene: Scene) -> None:
    trace = await scene.decide(SECRET)
    events = (await scene.log.trace(trace)).events
    index = next(event.index for event in events if event.event.payload)
    held = apsw.Connection(str(scene.log_path))
    held.execute("DELETE FROM payload WHERE idx = ?", (index,))
    report = await scene.log.verify()
    assert (report.bad_index, "nothing says that it was erased" in report.problem) == (index, True)


@pytest.mark.asyncio
async def test_an_erasure_that_was_undone_from_a_copy_is_found(scene: Scene) -> None:
    trace = await scene.decide(SECRET)
    event = next(item for item in (await scene.log.trace(trace)).events if item.event.payload)
    await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    held = apsw.Connection(str(scene.log_path))
    held.execute("INSERT INTO payload VALUES (?, ?)", (event.index, event.event.payload))
    report = await scene.log.verify()
    assert (report.bad_index, "it is there" in report.problem) == (event.index, True)


@pytest.mark.asyncio
async def test_a_package_with_a_payload_left_out_does_not_verify(scene: Scene) -> None:
    from aisecops_server.adapters.evidence.archive import pack  # noqa: PLC0415 - only here

    trace = await scene.decide(SECRET)
    package = await scene.plane.export(EvidenceRequest([trace]), principal=AUDITOR)
    files = {**read_package(package.content), "payloads.json": b"{}"}
    with pytest.raises(EvidenceError, match=r"payloads\.json is not the file"):
        verify(pack(files))


@pytest.mark.asyncio
async def test_nothing_that_is_held_or_unfinished_is_erased(scene: Scene) -> None:
    trace, other = await scene.decide(SECRET), await scene.decide(OTHER)
    hold = await scene.holds.add(HeldBy.TRACE, [trace], principal="counsel@corp.example", reason="case 17")
    with pytest.raises(HeldError, match=hold.id):
        await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    await scene.erase(other, principal="dpo@corp.example", reason="request 4712")
    asked = await scene.holds.release(hold.id, principal="counsel@corp.example", reason="closed")
    again = await scene.holds.release(hold.id, principal="counsel@corp.example", reason="closed")
    assert (asked.is_held, again.is_held) == (True, True), "one person alone does not release"
    with pytest.raises(HeldError):
        await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    ended = await scene.holds.release(hold.id, principal="dpo@corp.example", reason="closed")
    assert not ended.is_held
    with pytest.raises(NotFoundError, match="was released"):
        await scene.holds.release(hold.id, principal="dpo@corp.example", reason="closed")
    assert await scene.holds.list(released=False) == []
    assert await scene.holds.list(released=True) == [ended]
    granted = await scene.decide("T-1", tool="tickets/read")
    if (await scene.log.trace(granted)).summary.outcome == "ALLOW":
        with pytest.raises(ContendedError, match="is open"):
            await scene.erase(granted, principal="dpo@corp.example", reason="request 4713")
    await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    assert await scene.verified() == ""


@pytest.mark.asyncio
async def test_what_people_were_shown_goes_as_well_and_how_they_answered_stays(scene: Scene) -> None:
    plan = PlanBuilder(intent=f"Refund for {SECRET}", environment="production")
    prompt = plan.source("user_prompt", f"Refund order 48213 of customer C-20417, 164 EUR. {SECRET}", id="request")
    arguments = {"order_id": "48213", "customer_id": "C-20417", "amount": 164, "reason": SECRET}
    plan.step("crm/issue_refund", arguments, id="refund", influenced_by=[prompt])
    answer = await scene.client.decide(plan)
    trace = answer.decision.trace_id
    assert answer.waits_for_people
    with pytest.raises(ContendedError, match="is open"):
        await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    await scene.client.approvals.withdraw(answer.approval_id, note="done by hand")
    await scene.erase(trace, principal="dpo@corp.example", reason="request 4711")
    assert scene.on_disk(SECRET) == []
    assert await scene.verified() == ""
    assert (await scene.log.approvals.approval(answer.approval_id)).closed_note == "done by hand"
    with pytest.raises(NotFoundError, match="was erased"):
        await scene.log.approvals.statement(answer.approval_id)


@pytest.mark.asyncio
async def test_a_hold_and_an_erasure_that_race_do_not_both_win(scene: Scene) -> None:
    traces = [await scene.decide(f"{SECRET}-{number}") for number in range(6)]

    async def race(trace: str) -> tuple[bool, bool]:
        held, erased = await asyncio.gather(
            scene.holds.add(HeldBy.TRACE, [trace], principal="counsel@corp.example", reason="case"),
            scene.erase(trace, principal="dpo@corp.example", reason="request"),
            return_exceptions=True,
        )
        return not isinstance(held, AisecopsError), not isinstance(erased, AisecopsError)

    for trace in traces:
        held, erased = await race(trace)
        order = [item.event.type async for item in scene.log.events(from_index=0, follow=False, trace_id="")]
        assert held, "a hold is never refused"
        if erased:
            assert "payload.erased" in order
    assert await scene.verified() == ""


@pytest.mark.asyncio
async def test_retention_erases_what_is_over_and_leaves_what_is_held(scene: Scene) -> None:
    trace, held, kept = await scene.decide(SECRET), await scene.decide(OTHER), await scene.decide("note", tool="x/y")
    await scene.holds.add(HeldBy.TRACE, [held], principal="counsel@corp.example", reason="case 17")
    table = {"classes": {"short": 30, "long": "forever"}, "default": "short", "tools": {"x/y": "long"}}
    clock = FakeClock(scene.plane.clock.now_ns() + 29 * DAY * 10**9)
    retention = replace(scene.plane.retention.retention, tables=lambda: {"retention": table}, clock=clock)
    assert [due async for due in retention.due()] == []
    clock.advance(2 * DAY)
    due = {item.trace.trace_id: item async for item in retention.due()}
    assert set(due) == {trace, held}
    assert (due[trace].retention.name, due[trace].retention.days, due[trace].held_by) == ("short", 30, ())
    assert len(due[held].held_by) == 1
    done = {item.trace.trace_id: item.erased async for item in retention(principal="operator@corp.example")}
    assert done == {trace: True, held: False}
    assert scene.on_disk(SECRET) == []
    assert [item.trace.trace_id async for item in retention.due()] == [held]
    tombstone = (await scene.log.trace(trace)).events[-1].event.details()
    assert (tombstone["class"], tombstone["reason"]) == ("short", "kept for 30 days")
    assert (await scene.log.trace(kept)).summary.intent == "look for note"
    assert await scene.verified() == ""


@pytest.mark.asyncio
async def test_without_a_table_everything_is_kept(scene: Scene) -> None:
    await scene.decide(SECRET)
    clock = FakeClock(scene.plane.clock.now_ns() + 40_000 * DAY * 10**9)
    retention = replace(scene.plane.retention.retention, tables=dict, clock=clock)
    assert [due async for due in retention.due()] == []
