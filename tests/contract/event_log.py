"""What every ``EventLog`` must do. A store's test module subclasses the suite and says how to open the store."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.errors import (
    AisecopsError,
    IdempotencyConflictError,
    IntegrityError,
    InvalidRequestError,
    LogUnavailableError,
    NotFoundError,
)
from aisecops_server.domain.events.event import Event, StoredEvent
from aisecops_server.domain.events.payload import NO_SALT
from aisecops_server.domain.log.merkle import EMPTY_ROOT, leaf_hash, root_of
from aisecops_server.domain.log.record import Receipt, TraceFilter, TraceSummary
from aisecops_server.ports import EventLog

from tests.contract.variety import varied
from tests.scenes.log.records import START_NS, Records

EVERYTHING = TraceFilter()


async def collected(events: AsyncIterator[StoredEvent]) -> list[StoredEvent]:
    return [event async for event in events]


async def listed(log: EventLog, narrow: TraceFilter = EVERYTHING, *, page_size: int = 7) -> list[TraceSummary]:
    found: list[TraceSummary] = []
    token = ""
    while True:
        page = await log.traces(narrow, page_size=page_size, page_token=token)
        assert len(page.traces) <= page_size
        found += page.traces
        if not page.next_token:
            return found
        token = page.next_token


def as_made(events: Sequence[StoredEvent]) -> list[Event]:
    """Events as they were before the store salted their payload."""
    return [stored.event.salted(NO_SALT) for stored in events]


class EventLogContract:
    """The suite. ``open`` returns a log on the same storage each time it is called in one test."""

    async def open(self) -> EventLog:
        raise AssertionError("a store's suite says how it is opened")

    @pytest_asyncio.fixture
    async def log(self) -> AsyncIterator[EventLog]:
        log = await self.open()
        yield log
        await log.close()

    # Appending

    @pytest.mark.asyncio
    async def test_an_empty_log_has_the_empty_root_and_verifies(self, log: EventLog) -> None:
        head = await log.head()
        assert (head.size, head.root) == (0, EMPTY_ROOT)
        assert (await log.verify()).ok
        assert await collected(log.events(from_index=0, follow=False, trace_id="")) == []
        assert await listed(log) == []

    @pytest.mark.asyncio
    async def test_a_decision_is_stored_with_its_events_in_order_and_its_document(self, log: EventLog) -> None:
        record = Records().record(details={"explanation": "because", "nested": {"list": [1, "two", None]}})
        receipt = await log.append(record)
        assert receipt.log_index == len(record.events) - 1
        assert receipt.event_id == record.events[-1].id
        assert not receipt.replayed
        stored = await log.decision(record.decision.id)
        assert stored.document == record.document
        assert stored.details["nested"] == {"list": [1, "two", None]}
        assert stored.receipt == receipt
        events = await collected(log.events(from_index=0, follow=False, trace_id=""))
        assert as_made(events) == list(record.events)
        assert receipt.leaf_hash == leaf_hash(events[-1].event.body)
        assert [stored.index for stored in events] == list(range(len(record.events)))

    @pytest.mark.asyncio
    async def test_the_head_is_the_root_over_all_leaves(self, log: EventLog) -> None:
        records = [Records("x").record(), Records("y").record()]
        await log.append_many(records)
        bodies = [stored.event.body for stored in await collected(log.events(from_index=0, follow=False, trace_id=""))]
        assert len(bodies) == sum(len(record.events) for record in records)
        head = await log.head()
        assert (head.size, head.root) == (len(bodies), root_of(map(leaf_hash, bodies)))

    @pytest.mark.asyncio
    async def test_many_decisions_at_once_get_indices_without_a_gap(self, log: EventLog) -> None:
        make = Records()
        records = [make.record() for _ in range(300)]
        receipts = await asyncio.gather(*map(log.append, records))
        assert sorted(receipt.log_index for receipt in receipts) == [6 * number + 5 for number in range(300)]
        assert (await log.head()).size == 1800
        report = await log.verify()
        assert (report.ok, report.bad_index) == (True, None)
        assert report.stored == report.recomputed

    @pytest.mark.asyncio
    async def test_a_batch_is_answered_in_its_order(self, log: EventLog) -> None:
        make = Records()
        records = [make.record() for _ in range(600)]
        receipts = await log.append_many(records)
        assert [getattr(receipt, "event_id", None) for receipt in receipts] == [
            record.events[-1].id for record in records
        ]
        assert await log.append_many([]) == []

    @pytest.mark.asyncio
    async def test_one_bad_entry_of_a_batch_fails_alone(self, log: EventLog) -> None:
        make = Records()
        known, fresh = make.record(), make.record()
        await log.append(known)
        again = dataclasses.replace(make.record(), events=known.events)
        refused, stored = await log.append_many([again, fresh])
        assert isinstance(refused, LogUnavailableError)
        assert not isinstance(stored, AisecopsError)
        assert log.sealed == ""
        assert (await log.head()).size == 12
        assert (await log.verify()).ok

    @pytest.mark.asyncio
    async def test_an_entry_that_no_store_can_hold_hurts_nobody_beside_it(self, log: EventLog) -> None:
        make = Records()
        intent, tools = {"intent": "\ud800"}, {"tools": ("\ud800",)}
        strange = {4: intent, 14: tools, 24: intent, 34: tools, 44: tools}
        records = [dataclasses.replace(make.record(), **strange.get(number, {})) for number in range(50)]
        answers = await asyncio.gather(*map(log.append, records), return_exceptions=True)
        refused = [number for number, answer in enumerate(answers) if isinstance(answer, LogUnavailableError)]
        assert refused == list(strange)
        assert sum(isinstance(answer, Receipt) for answer in answers) == 45
        assert (log.sealed, (await log.head()).size) == ("", 45 * 6)
        assert len(await listed(log)) == 45
        assert (await log.verify()).ok

    @pytest.mark.asyncio
    async def test_a_caller_that_stops_waiting_disturbs_nobody(self, log: EventLog) -> None:
        make = Records()
        abandoned = asyncio.create_task(log.append(make.record()))
        kept = asyncio.create_task(log.append(make.record()))
        await asyncio.sleep(0)
        abandoned.cancel()
        receipt = await kept
        assert receipt.log_index % 6 == 5
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        assert (await log.verify()).ok

    @pytest.mark.asyncio
    async def test_verification_reports_its_progress_up_to_the_end(self, log: EventLog) -> None:
        make = Records()
        await log.append_many([make.record() for _ in range(100)])
        seen: list[tuple[int, int]] = []
        await log.verify(lambda done, total: seen.append((done, total)))
        assert seen[0] == (0, 600)
        assert seen[-1] == (600, 600)
        assert seen == sorted(seen)

    @pytest.mark.asyncio
    async def test_a_log_verifies_while_it_grows(self, log: EventLog) -> None:
        make = Records()
        await log.append_many([make.record() for _ in range(200)])
        growing = asyncio.gather(*(log.append(make.record(key=f"k{number}")) for number in range(200)))
        reports = [await log.verify() for _ in range(3)]
        await growing
        assert [report.problem for report in [*reports, await log.verify()]] == ["", "", "", ""]

    @pytest.mark.asyncio
    async def test_a_document_that_is_not_the_decisions_own_is_refused(self, log: EventLog) -> None:
        make = Records()
        with pytest.raises(IntegrityError, match="not the one"):
            await log.append(dataclasses.replace(make.record(), document=b"{}"))
        with pytest.raises(IntegrityError, match="without events"):
            await log.append(dataclasses.replace(make.record(), events=()))
        assert (await log.head()).size == 0

    @pytest.mark.asyncio
    async def test_the_same_document_is_readable_from_every_decision_about_it(self, log: EventLog) -> None:
        make = Records()
        records = [make.record(document=b'{"same":1}') for _ in range(3)]
        await log.append(records[0])
        await log.append_many(records[1:])
        assert {(await log.decision(record.decision.id)).document for record in records} == {b'{"same":1}'}
        assert (await log.verify()).ok

    @pytest.mark.asyncio
    async def test_an_event_of_its_own_takes_the_next_index(self, log: EventLog) -> None:
        make = Records()
        await log.append(make.record())
        event = make.control_event()
        receipt = await log.append_event(event)
        assert (receipt.log_index, receipt.event_id, receipt.leaf_hash) == (6, event.id, leaf_hash(event.body))
        assert (await log.verify()).ok

    @pytest.mark.asyncio
    async def test_what_was_stored_is_there_after_reopening(self, log: EventLog) -> None:
        make = Records()
        records = [make.record(rules=("r.one",)) for _ in range(100)]
        await log.append_many(records)
        head, traces = await log.head(), await listed(log)
        await log.close()
        again = await self.open()
        try:
            assert again.sealed == ""
            assert await again.head() == head
            assert await listed(again) == traces
            receipt = await again.append(make.record(rules=("r.one",)))
            assert receipt.log_index == head.size + 5
            assert len(await listed(again, TraceFilter(rule="r.one"))) == 101
            assert (await again.verify()).ok
        finally:
            await again.close()

    @pytest.mark.asyncio
    async def test_a_closed_log_takes_nothing(self, log: EventLog) -> None:
        await log.close()
        with pytest.raises(LogUnavailableError):
            await log.append(Records().record())

    @pytest.mark.asyncio
    async def test_times_are_kept_to_the_microsecond_that_the_body_proves(self, log: EventLog) -> None:
        event = dataclasses.replace(Records().control_event(), occurred_at_ns=START_NS + 789)
        await log.append_event(event)
        [stored] = await collected(log.events(from_index=0, follow=False, trace_id=""))
        assert stored.event == dataclasses.replace(event, occurred_at_ns=START_NS)
        assert (await log.verify()).ok

    # Retries

    @pytest.mark.asyncio
    async def test_a_retry_gets_the_stored_decision_and_stores_nothing(self, log: EventLog) -> None:
        make = Records()
        first, retry = make.record(key="k1"), make.record(key="k1")
        assert await log.replayed("agent-a", "k1") is None
        receipt = await log.append(first)
        again = await log.append(retry)
        assert again == dataclasses.replace(receipt, replayed=True)
        stored = await log.replayed("agent-a", "k1")
        assert stored is not None
        assert (stored.decision_id, stored.request_digest) == (first.decision.id, "request-1")
        assert stored.document == first.document
        assert (await log.head()).size == len(first.events)
        with pytest.raises(NotFoundError):
            await log.decision(retry.decision.id)

    @pytest.mark.asyncio
    async def test_a_key_used_for_another_request_is_a_conflict(self, log: EventLog) -> None:
        make = Records()
        await log.append(make.record(key="k1"))
        with pytest.raises(IdempotencyConflictError) as caught:
            await log.append(make.record(key="k1", request_digest="request-2"))
        assert caught.value.metadata()["key"] == "k1"
        assert (await log.head()).size == 6

    @pytest.mark.asyncio
    async def test_a_key_belongs_to_its_principal(self, log: EventLog) -> None:
        make = Records()
        first = await log.append(make.record(key="k1", agent="agent-a"))
        second = await log.append(make.record(key="k1", agent="agent-b", request_digest="request-2"))
        assert not first.replayed
        assert not second.replayed
        assert await log.replayed("agent-c", "k1") is None

    @pytest.mark.asyncio
    async def test_racing_retries_store_exactly_one_decision(self, log: EventLog) -> None:
        make = Records()
        racers = [make.record(key=f"k{number % 5}", request_digest=f"r{number % 5}") for number in range(100)]
        batch = asyncio.create_task(log.append_many(racers[:50]))
        receipts = [*await asyncio.gather(*map(log.append, racers[50:])), *await batch]
        assert sum(not receipt.replayed for receipt in receipts if not isinstance(receipt, AisecopsError)) == 5
        assert len({getattr(receipt, "event_id", "") for receipt in receipts}) == 5
        assert (await log.head()).size == 5 * 6

    # Reading

    @pytest.mark.asyncio
    async def test_what_is_not_there_is_not_found(self, log: EventLog) -> None:
        with pytest.raises(NotFoundError, match="no decision nothing"):
            await log.decision("nothing")
        with pytest.raises(NotFoundError, match="no trace"):
            await log.trace("f" * 32)
        await log.append_event(Records().control_event())
        with pytest.raises(NotFoundError):
            await log.trace("")

    @pytest.mark.asyncio
    async def test_a_trace_gives_its_decisions_oldest_first_and_all_its_events(self, log: EventLog) -> None:
        make = Records()
        trace_id = "a" * 32
        first = make.record(trace_id=trace_id, tools=("b/x",), rules=("r.two",), outcome=Outcome.DENY)
        other = make.record()
        note = make.control_event(trace_id=trace_id, kind="plan.rejected")
        last = make.record(
            trace_id=trace_id,
            agent="agent-z",
            intent="other",
            tools=("a/y", "b/x"),
            rules=("r.one",),
            outcome=Outcome.REQUIRE_APPROVAL,
            mode=Mode.DRY_RUN,
            trust="unverified",
            revision="2" * 40,
        )
        await log.append_many([first, other])
        await log.append_event(note)
        await log.append(last)
        trace = await log.trace(trace_id)
        assert [decision.decision_id for decision in trace.decisions] == [first.decision.id, last.decision.id]
        assert as_made(trace.events) == [*first.events, note, *last.events]
        assert trace.summary == TraceSummary(
            trace_id=trace_id,
            agent_id="agent-a",
            outcome="DENY",
            mode="ENFORCE",
            intent="answer the customer",
            tools=("a/y", "b/x"),
            rules=("r.one", "r.two"),
            lowest_trust="unverified",
            bundle_revision="2" * 40,
            decisions=2,
            started_at_ns=first.events[0].occurred_at_ns,
            last_at_ns=last.events[0].occurred_at_ns,
            agents=("agent-a", "agent-z"),
            steps=3,
            gates="aaabaaeb",
        )
        for agent in ("agent-a", "agent-z"):
            page = await log.traces(TraceFilter(agent_id=agent), page_size=5, page_token="")
            assert trace_id in {found.trace_id for found in page.traces}
        later = await collected(log.events(from_index=3, follow=False, trace_id=trace_id))
        assert as_made(later) == [*first.events[3:], note, *last.events]

    @pytest.mark.asyncio
    async def test_a_follower_sees_everything_once_and_in_order(self, log: EventLog) -> None:
        make = Records()
        before = [make.record() for _ in range(60)]
        during = [make.record() for _ in range(60)]
        await log.append_many(before)
        wanted = sum(len(record.events) for record in (*before, *during))
        seen: list[StoredEvent] = []

        async def follow() -> None:
            async for event in log.events(from_index=0, follow=True, trace_id=""):
                seen.append(event)
                if len(seen) == wanted:
                    return

        follower = asyncio.create_task(follow())
        await asyncio.gather(*map(log.append, during))
        await asyncio.wait_for(follower, 30)
        assert [event.index for event in seen] == list(range(wanted))

    @pytest.mark.asyncio
    async def test_a_follower_of_one_trace_sees_nothing_else_and_ends_when_the_log_closes(self, log: EventLog) -> None:
        make = Records()
        trace_id = "e" * 32
        seen: list[StoredEvent] = []
        first = asyncio.Event()

        async def follow() -> None:
            async for event in log.events(from_index=0, follow=True, trace_id=trace_id):
                seen.append(event)
                first.set()

        follower = asyncio.create_task(follow())
        await log.append_many([make.record(), make.record(trace_id=trace_id), make.record()])
        await asyncio.wait_for(first.wait(), 30)
        await log.close()
        await asyncio.wait_for(follower, 30)
        assert [event.event.trace_id for event in seen] == [trace_id] * 6

    # Listing

    @pytest.mark.asyncio
    async def test_traces_are_listed_newest_first_across_pages(self, log: EventLog) -> None:
        make = Records()
        records = [make.record() for _ in range(40)]
        await log.append_many(records)
        expected = [record.decision.trace_id for record in reversed(records)]
        for page_size in (1, 7, 40, 100):
            assert [summary.trace_id for summary in await listed(log, page_size=page_size)] == expected

    @pytest.mark.asyncio
    async def test_a_list_that_grows_while_it_is_paged_neither_repeats_nor_skips(self, log: EventLog) -> None:
        make = Records()
        records = [make.record() for _ in range(10)]
        await log.append_many(records)
        page = await log.traces(EVERYTHING, page_size=4, page_token="")
        await log.append(make.record())
        await log.append(make.record(trace_id=records[0].decision.trace_id))
        rest = await log.traces(EVERYTHING, page_size=100, page_token=page.next_token)
        both = [summary.trace_id for summary in (*page.traces, *rest.traces)]
        assert both == [record.decision.trace_id for record in reversed(records)]

    @pytest.mark.asyncio
    async def test_a_later_decision_moves_a_trace_between_filters(self, log: EventLog) -> None:
        make = Records()
        trace_id = "b" * 32
        await log.append(make.record(trace_id=trace_id, revision="1" * 40))
        await log.append(make.record(trace_id=trace_id, outcome=Outcome.DENY, trust="external", revision="2" * 40))
        await log.append(make.record(trace_id=trace_id, outcome=Outcome.ALLOW, trust="trusted", revision="2" * 40))
        for gone in (TraceFilter(outcome="ALLOW"), TraceFilter(trust="internal"), TraceFilter(revision="1" * 40)):
            assert await listed(log, gone) == []
        for there in (TraceFilter(outcome="DENY"), TraceFilter(trust="external"), TraceFilter(revision="2" * 40)):
            assert [summary.trace_id for summary in await listed(log, there)] == [trace_id]

    @pytest.mark.asyncio
    async def test_a_page_token_of_another_list_is_refused(self, log: EventLog) -> None:
        make = Records()
        await log.append_many([make.record() for _ in range(5)])
        token = (await log.traces(EVERYTHING, page_size=2, page_token="")).next_token
        assert token
        flipped = token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:]
        for foreign in (flipped, token[1:], "x", "é", "AAAA", token * 2):
            with pytest.raises(InvalidRequestError) as caught:
                await log.traces(EVERYTHING, page_size=2, page_token=foreign)
            assert caught.value.metadata()["field"] == "page_token"
        with pytest.raises(InvalidRequestError):
            await log.traces(TraceFilter(outcome="ALLOW"), page_size=2, page_token=token)
        with pytest.raises(InvalidRequestError) as caught:
            await log.traces(EVERYTHING, page_size=0, page_token="")
        assert caught.value.metadata()["field"] == "page_size"

    @pytest.mark.asyncio
    async def test_every_combination_of_filters_finds_exactly_what_a_scan_finds(self, log: EventLog) -> None:
        make = Records()
        records = [varied(make, number) for number in range(120)]
        await log.append_many(records)
        everything = await listed(log, page_size=50)
        values: dict[str, tuple[str | int, ...]] = {
            "agent_id": ("", "agent-1", "agent-none"),
            "outcome": ("", "DENY"),
            "tool": ("", "t/1"),
            "rule": ("", "r.2", "r.none"),
            "trust": ("", "external"),
            "revision": ("", "1" * 40),
            "mode": ("", "DRY_RUN"),
            "without": ((), (("tool", "t/2"), ("rule", "r.none"), ("outcome", "REQUIRE_APPROVAL"))),
            "from_ns": (0, everything[80].started_at_ns),
            "to_ns": (0, everything[10].started_at_ns),
        }
        for combination in itertools.product(*values.values()):
            narrow = TraceFilter(**dict(zip(values, combination, strict=True)))
            expected = [summary for summary in everything if _matches(narrow, summary)]
            assert await listed(log, narrow, page_size=50) == expected, narrow

    @pytest.mark.asyncio
    async def test_a_page_that_leaves_out_goes_on_only_with_the_same_filter(self, log: EventLog) -> None:
        make = Records()
        await log.append_many([varied(make, number) for number in range(30)])
        narrow = TraceFilter(without=(("agent_id", "agent-1"), ("agent_id", "agent-nobody")))
        first = await log.traces(narrow, page_size=5, page_token="")
        assert {trace.agent_id for trace in first.traces} == {"agent-0", "agent-2"}
        with pytest.raises(InvalidRequestError):
            await log.traces(TraceFilter(), page_size=5, page_token=first.next_token)


def _matches(narrow: TraceFilter, summary: TraceSummary) -> bool:
    return (
        narrow.agent_id in ("", summary.agent_id)
        and narrow.outcome in ("", summary.outcome)
        and (not narrow.tool or narrow.tool in summary.tools)
        and (not narrow.rule or narrow.rule in summary.rules)
        and narrow.trust in ("", summary.lowest_trust)
        and narrow.revision in ("", summary.bundle_revision)
        and narrow.mode in ("", summary.mode)
        and summary.started_at_ns >= narrow.from_ns
        and (not narrow.to_ns or summary.started_at_ns < narrow.to_ns)
        and not any(_matches(TraceFilter(**{name: value}), summary) for name, value in narrow.without)
    )
