"""A Session stream remembers what it was told, and nothing that was refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aisecops.v1.decision_service_pb2 import SessionRequest
from aisecops.v1.plan_pb2 import Delegate, ExecutionPlan, PastStep, Step
from aisecops.v1.provenance_pb2 import SOURCE_KIND_TOOL_RESULT, Source
from aisecops_client import AisecopsClientError, Answer, AsyncClient

from tests.integration.api.plans import plan
from tests.integration.api.running import Api, running_api


def step(step_id: str, tool: str = "mail/send", depends_on: Sequence[str] = ()) -> Step:
    return Step(step_id=step_id, tool=tool, arguments_json=b"{}", depends_on=depends_on)


def page(content: bytes) -> Source:
    return Source(source_id="page", kind=SOURCE_KIND_TOOL_RESULT, content=content)


async def hold(
    client: AsyncClient, *plans: ExecutionPlan, keys: Sequence[str] = ()
) -> list[Answer | AisecopsClientError]:
    async def messages() -> AsyncIterator[SessionRequest]:
        for at, part in enumerate(plans):
            yield SessionRequest(correlation_id=f"c{at}", plan=part, idempotency_key=keys[at] if keys else "")

    found = [answer async for answer in client.session(messages())]
    assert [correlation_id for correlation_id, _ in found] == [f"c{at}" for at in range(len(plans))]
    return [answer for _, answer in found]


def documents(api: Api) -> list[dict[str, Any]]:
    return [json.loads(document) for document in api.engine.documents]


def shown(results: Sequence[Answer | AisecopsClientError]) -> list[str]:
    return [
        result.outcome if isinstance(result, Answer) else f"{result.reason} {result.metadata['field']}"
        for result in results
    ]


@pytest.mark.asyncio
async def test_later_messages_know_the_sources_and_calls_of_earlier_ones() -> None:
    first = plan(session_id="chat", environment="staging")
    first.delegation.append(Delegate(agent_id="boss"))
    later = ExecutionPlan(steps=[step("step-2", depends_on=["step-1"])], sources=[page(b"a page")])
    async with running_api() as api, api.client() as client:
        results = await hold(client, first, later)
        assert shown(results) == ["ALLOW", "ALLOW"]
        one, two = documents(api)
        assert [source["id"] for source in two["sources"]] == ["prompt", "page"]
        assert two["history"] == [{"step_id": "step-1", "tool": "mail/send", "observed": True}]
        assert two["usage"]["session_calls"] == 1
        for name in ("trace", "session", "environment", "delegation"):
            assert one[name] == two[name]
        assert one["plan"]["id"] != two["plan"]["id"]


@pytest.mark.asyncio
async def test_the_first_message_settles_what_holds_for_the_whole_stream() -> None:
    changes = [
        ExecutionPlan(steps=[step("s2")], trace_id="b" * 32),
        ExecutionPlan(steps=[step("s2")], session_id="other"),
        ExecutionPlan(steps=[step("s2")], environment="production"),
        ExecutionPlan(steps=[step("s2")], delegation=[Delegate(agent_id="boss")]),
        ExecutionPlan(steps=[step("s2")], trace_id="a" * 32),
    ]
    async with running_api() as api, api.client() as client:
        results = await hold(client, plan(trace_id="a" * 32), *changes)
        fields = ["trace_id", "session_id", "environment", "delegation"]
        assert shown(results) == ["ALLOW", *(f"INVALID_PLAN plan.{field}" for field in fields), "ALLOW"]


@pytest.mark.asyncio
async def test_a_source_cannot_be_redefined() -> None:
    async with running_api() as api, api.client() as client:
        results = await hold(
            client,
            ExecutionPlan(steps=[step("s1")], sources=[page(b"harmless")]),
            ExecutionPlan(steps=[step("s2")], sources=[page(b"something else")]),
            ExecutionPlan(steps=[step("s3")], sources=[page(b"harmless")]),
        )
        assert shown(results) == ["ALLOW", "INVALID_PLAN plan.sources[0].source_id", "ALLOW"]


@pytest.mark.asyncio
async def test_what_was_refused_or_denied_did_not_happen() -> None:
    async with running_api() as api, api.client() as client:
        results = await hold(
            client,
            ExecutionPlan(steps=[step("s1", "bare")], sources=[page(b"of a refused message")]),
            ExecutionPlan(steps=[step("s1", "db/delete")]),
            ExecutionPlan(steps=[step("s2", "bank/pay")]),
            ExecutionPlan(steps=[step("s3")], sources=[page(b"another page")]),
        )
        assert shown(results) == ["INVALID_PLAN steps[0].tool", "DENY", "REQUIRE_APPROVAL", "ALLOW"]
        assert documents(api)[-1]["history"] == []


@pytest.mark.asyncio
async def test_an_agent_cannot_claim_that_a_call_was_observed() -> None:
    claimed = PastStep(step_id="s1", tool="mail/send")
    async with running_api() as api, api.client() as client:
        results = await hold(
            client,
            ExecutionPlan(steps=[step("s1")], history=[PastStep(step_id="h", tool="crm/find")]),
            ExecutionPlan(steps=[step("s2")], history=[claimed]),
            ExecutionPlan(steps=[step("s1")]),
            ExecutionPlan(steps=[step("s3")]),
        )
        assert shown(results) == ["ALLOW", "INVALID_PLAN history[1].step_id", "INVALID_PLAN steps[0].step_id", "ALLOW"]
        assert [(past["step_id"], past["observed"]) for past in documents(api)[-1]["history"]] == [
            ("h", False),
            ("s1", True),
        ]


@pytest.mark.asyncio
async def test_a_retry_within_the_same_story_gets_the_stored_answer() -> None:
    async with running_api() as api, api.client() as client:
        story = [plan(), ExecutionPlan(steps=[step("s2")])]
        first = await hold(client, *story, keys=["k1", "k2"])
        again = await hold(client, *story, keys=["k1", "k2"])
        other = await hold(client, plan(trace_id="b" * 32), ExecutionPlan(steps=[step("s2")]), keys=["k3", "k2"])
        assert [answer.receipt.replayed for answer in again if isinstance(answer, Answer)] == [True, True]
        assert [answer.decision for answer in again if isinstance(answer, Answer)] == [
            answer.decision for answer in first if isinstance(answer, Answer)
        ]
        traces = {answer.decision.trace_id for answer in (*first, *again) if isinstance(answer, Answer)}
        assert len(traces) == 1
        assert isinstance(other[1], AisecopsClientError)
        assert other[1].reason == "IDEMPOTENCY_CONFLICT"


@pytest.mark.asyncio
async def test_a_fault_behind_ends_one_message_and_not_the_stream() -> None:
    async with running_api() as api, api.client() as client:
        failed, good = await hold(client, plan("db/crash"), plan())
        assert isinstance(failed, AisecopsClientError)
        assert (failed.reason, "secret" in failed.message) == ("INTERNAL", False)
        assert isinstance(good, Answer)
        assert good.allowed
