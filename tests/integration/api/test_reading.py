"""AuditService and BundleService over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aisecops.v1.audit_service_pb2 import ListTraceFacetsResponse, TraceFilter, TraceTerm
from aisecops.v1.bundle_pb2 import REVISION_STATE_LIVE
from aisecops.v1.event_pb2 import STAGE_OUTCOME
from aisecops_client import AsyncClient, NotFoundError, RequestRefusedError
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.usecases.bundles.activate import ActivateCommand, Order
from google.protobuf.timestamp_pb2 import Timestamp

from tests.fakes.policy_engine import REVISION
from tests.integration.api.plans import plan
from tests.integration.api.running import AGENT, Api, running_api


def auditor(api: Api) -> AsyncClient:
    return api.client(Role.AUDITOR, subject="auditor")


@pytest.mark.asyncio
async def test_a_trace_shows_its_decisions_and_events_as_they_were_stored() -> None:
    async with running_api() as api, api.client() as agent, auditor(api) as client:
        answer = await agent.decide(plan("db/delete", trace_id="a" * 32))
        trace = await client.trace("a" * 32)
        assert (trace.summary.agent_id, trace.summary.outcome) == (AGENT, "DENY")
        assert list(trace.decisions) == [answer.decision]
        assert [event.body_json for event in trace.events] == [
            stored.event.body for stored in api.log.stored if stored.event.trace_id
        ]
        assert trace.events[-1].stage == STAGE_OUTCOME
        assert trace.events[-1].leaf_hash == answer.receipt.leaf_hash
        with pytest.raises(NotFoundError):
            await client.trace("b" * 32)
        with pytest.raises(RequestRefusedError):
            await client.trace("everything")


@pytest.mark.asyncio
async def test_traces_come_in_pages_and_narrowed() -> None:
    async with running_api() as api, api.client() as agent, auditor(api) as client:
        for tool in ("mail/send", "db/delete", "mail/send", "mail/read", "db/delete"):
            await agent.decide(plan(tool))
        first = await client.traces(page_size=3)
        rest = await client.traces(page_size=3, page_token=first.next_page_token)
        assert (len(first.traces), len(rest.traces), rest.next_page_token) == (3, 2, "")
        assert len({trace.trace_id for trace in (*first.traces, *rest.traces)}) == 5
        denied = await client.traces(TraceFilter(outcome="DENY"))
        assert [trace.outcome for trace in denied.traces] == ["DENY", "DENY"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("narrow", "field"),
    [
        (TraceFilter(outcome="deny"), "filter.outcome"),
        (TraceFilter(mode="REAL"), "filter.mode"),
        (TraceFilter(trust="high"), "filter.trust"),
        (TraceFilter(agent_id="a" * 257), "filter.agent_id"),
        (TraceFilter(agent_id="a\0b"), "filter.agent_id"),
        (TraceFilter(query="to:1970-01-01"), "filter.query"),
        (TraceFilter(without=[TraceTerm(field="outcome", value="deny")]), "filter.without.outcome"),
        (TraceFilter(without=[TraceTerm(field="from", value="1")]), "filter.without"),
        (TraceFilter(without=[TraceTerm(field="tool")]), "filter.without"),
        (TraceFilter(without=[TraceTerm(field="tool", value="a")] * 17), "filter.without"),
        (TraceFilter(query="tool:*/send"), "filter.query"),
        (TraceFilter(query="tool:a/*", tool="a/b", outcome="ALLOW"), "filter.query"),
        (TraceFilter(query="outcome:blocked", outcome="DENY"), "filter.query"),
        (TraceFilter(to=Timestamp(seconds=-1)), "filter.to"),
        (TraceFilter(to=Timestamp(nanos=-1)), "filter.to"),
        (TraceFilter(to=Timestamp(seconds=2**62)), "filter.to"),
    ],
)
async def test_a_filter_that_matches_nothing_by_mistake_is_refused(narrow: TraceFilter, field: str) -> None:
    async with running_api() as api, auditor(api) as client:
        with pytest.raises(RequestRefusedError) as refused:
            await client.traces(narrow)
        assert refused.value.metadata["field"] == field


@pytest.mark.asyncio
async def test_values_are_counted_under_the_filter_of_a_list() -> None:
    async with running_api() as api, api.client() as agent, auditor(api) as client:
        for tool in ("mail/send", "db/delete", "mail/send", "mail/read", "db/delete"):
            await agent.decide(plan(tool))
        every = await client.trace_facets()
        assert (every.counted, every.whole, len(every.facets)) == (5, True, 8)
        found = await client.trace_facets(TraceFilter(query="tool:mail/*"), fields=["tool", "outcome"])
        values = [[(one.value, one.count) for one in facet.values] for facet in found.facets]
        assert found.counted == 3
        assert values == [[("db/delete", 2), ("mail/send", 2), ("mail/read", 1)], [("ALLOW", 3)]]
        assert await client.trace_facets(TraceFilter(outcome="DENY"), count_only=True) == ListTraceFacetsResponse(
            counted=2, whole=True
        )
        for narrow, fields, field in ((None, ["steps"], "fields"), (TraceFilter(query="x"), [], "filter.query")):
            with pytest.raises(RequestRefusedError) as refused:
                await client.trace_facets(narrow, fields=fields)
            assert refused.value.metadata["field"] == field


@pytest.mark.asyncio
async def test_pages_have_a_size_and_a_token_of_ours() -> None:
    async with running_api() as api, auditor(api) as client:
        for size, token, field in ((-1, "", "page_size"), (0, "abc", "page_token")):
            for listed in (client.traces, client.revisions):
                with pytest.raises(RequestRefusedError) as refused:
                    await listed(page_size=size, page_token=token)
                assert refused.value.metadata["field"] == field


@pytest.mark.asyncio
async def test_events_stream_in_order_and_go_on_when_followed() -> None:
    async with running_api() as api, api.client() as agent, auditor(api) as client:
        await agent.decide(plan(trace_id="a" * 32))
        before = len(api.log.stored)
        past = [event.log_index async for event in client.events(from_index=2)]
        # That it is read is on record, and in what is read: who exports the log has the head that it has then.
        stored = len(api.log.stored)
        assert (stored, past) == (before + 1, list(range(2, stored)))
        followed = client.events(from_index=stored, follow=True)
        waiting = asyncio.ensure_future(anext(followed))
        await agent.decide(plan(trace_id="b" * 32))
        assert (await waiting).log_index == stored
        await followed.aclose()
        narrowed = [event.trace_id async for event in client.events(trace_id="b" * 32)]
        assert set(narrowed) == {"b" * 32}
        with pytest.raises(RequestRefusedError):
            await anext(client.events(from_index=-1))


@pytest.mark.asyncio
async def test_revisions_are_shown_with_their_rules() -> None:
    async with running_api() as api, auditor(api) as client:
        page = await client.revisions()
        assert [(found.commit, found.state) for found in page.revisions] == [(REVISION, REVISION_STATE_LIVE)]
        shown = await client.revision(REVISION)
        assert [(rule.rule, rule.line) for rule in shown.rules] == [("fake.tool", 7)]
        status = await client.bundle_status()
        assert (status.live.commit, status.wanted, status.synced_at.seconds) == (REVISION, REVISION, 1_800_000_000)
        with pytest.raises(NotFoundError):
            await client.revision("v9")
        for name in ("", "--upload-pack=x", "a b", "x" * 201):
            with pytest.raises(RequestRefusedError):
                await client.revision(name)


@pytest.mark.asyncio
async def test_a_change_of_policy_says_who_wanted_it_and_why() -> None:
    async with running_api() as api, api.client(Role.PLATFORM, subject="ada@example.org") as client:
        await client.activate(REVISION, reason="new rule")
        await client.rollback(reason="too strict")
        await client.sync()
        assert api.policy.asked == [
            ActivateCommand(REVISION, Order("ada@example.org", "new rule")),
            Order("ada@example.org", "too strict"),
            "sync",
        ]
        with pytest.raises(RequestRefusedError):
            await client.activate(REVISION, reason="x" * 1001)


@pytest.mark.asyncio
async def test_a_stream_that_is_no_longer_read_ends_on_both_sides() -> None:
    async with running_api() as api, api.client() as agent, auditor(api) as client:
        await agent.decide(plan())
        ended = asyncio.Event()
        events = api.log.events

        async def watched(**asked: Any) -> AsyncIterator[StoredEvent]:
            try:
                async for event in events(**asked):
                    yield event
            finally:
                ended.set()

        api.log.events = watched
        followed = client.events(follow=True)
        await anext(followed)
        await followed.aclose()
        await asyncio.wait_for(ended.wait(), 20)
        assert ended.is_set()
