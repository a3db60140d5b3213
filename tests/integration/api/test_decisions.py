"""Decide, DecideBatch, DryRun and Explain over a real connection."""

from __future__ import annotations

import asyncio
import json

import grpc
import pytest
from aisecops.v1 import decision_pb2
from aisecops.v1.decision_service_pb2 import DecideBatchItem, DecideBatchRequest, DryRunRequest
from aisecops_client import (
    AisecopsClientError,
    Answer,
    FaultError,
    NotFoundError,
    PlanBuilder,
    RequestRefusedError,
    RetryLaterError,
    tool_call_message,
)
from aisecops_client.messages import bearer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import EngineUnavailableError, NoDecisionError

from tests.fakes.policy_engine import REVISION
from tests.integration.api.plans import plan, request
from tests.integration.api.running import AGENT, running_api


@pytest.mark.asyncio
async def test_an_allowed_plan_is_answered_after_it_was_recorded() -> None:
    async with running_api() as api, api.client() as client:
        answer = await client.decide(plan())
        assert (answer.allowed, answer.outcome) == (True, "ALLOW")
        assert answer.decision.principal.id == AGENT
        assert answer.decision.bundle_revision == REVISION
        event = api.log.stored[answer.receipt.log_index]
        assert (event.event.id, event.leaf_hash.hex()) == (answer.receipt.event_id, answer.receipt.leaf_hash)


@pytest.mark.asyncio
@pytest.mark.parametrize(("tool", "outcome"), [("db/delete", "DENY"), ("bank/pay", "REQUIRE_APPROVAL")])
async def test_a_plan_that_is_not_allowed_is_an_answer_and_not_an_error(tool: str, outcome: str) -> None:
    async with running_api() as api, api.client() as client:
        answer = await client.decide(plan(tool))
        assert (answer.allowed, answer.outcome) == (False, outcome)
        assert answer.rules == ("fake.tool",)
        assert tool in answer.explanation


@pytest.mark.asyncio
async def test_a_retry_gets_the_stored_decision_byte_for_byte() -> None:
    async with running_api() as api, api.client() as client:
        first = await client.decide(plan("db/delete"), idempotency_key="k1")
        again = await client.decide(plan("db/delete"), idempotency_key="k1")
        assert again.decision.SerializeToString() == first.decision.SerializeToString()
        assert (first.receipt.replayed, again.receipt.replayed) == (False, True)
        assert len(api.engine.documents) == 1


@pytest.mark.asyncio
async def test_a_key_is_for_one_request_of_one_agent() -> None:
    async with running_api() as api, api.client() as client, api.client(subject="other") as other:
        await client.decide(plan(), idempotency_key="k1")
        with pytest.raises(RequestRefusedError) as refused:
            await client.decide(plan("db/delete"), idempotency_key="k1")
        assert refused.value.reason == "IDEMPOTENCY_CONFLICT"
        assert (await other.decide(plan("db/delete"), idempotency_key="k1")).outcome == "DENY"


@pytest.mark.asyncio
async def test_a_dry_run_is_never_the_stored_answer_of_a_real_request() -> None:
    async with running_api() as api, api.client() as client:
        dry = await client._decisions.DryRun(DryRunRequest(request=request(key="k1")), metadata=bearer(client.token))
        assert dry.decision.mode == decision_pb2.MODE_DRY_RUN
        assert not Answer(dry.decision, dry.receipt).allowed
        with pytest.raises(RequestRefusedError) as refused:
            await client.decide(plan(), idempotency_key="k1")
        assert refused.value.reason == "IDEMPOTENCY_CONFLICT"


@pytest.mark.asyncio
async def test_a_dry_run_takes_the_revision_that_it_is_asked_for() -> None:
    async with running_api() as api, api.client(Role.PLATFORM) as client:
        answer = await client.dry_run(plan(), revision=REVISION)
        assert (answer.outcome, answer.allowed) == ("ALLOW", False)
        with pytest.raises(NotFoundError) as missing:
            await client.dry_run(plan(), revision="v9")
        assert (missing.value.reason, missing.value.metadata) == ("UNKNOWN_REVISION", {"revision": "v9"})


@pytest.mark.asyncio
async def test_a_batch_answers_in_order_and_fails_item_by_item() -> None:
    async with running_api() as api, api.client() as client:
        results = await client.decide_batch([plan(), PlanBuilder(), plan("db/delete"), plan("bare")])
        outcomes = [result.outcome if isinstance(result, Answer) else result.reason for result in results]
        assert outcomes == ["ALLOW", "INVALID_PLAN", "DENY", "INVALID_PLAN"]
        fields = [result.metadata["field"] for result in results if isinstance(result, AisecopsClientError)]
        assert fields == ["steps", "steps[0].tool"]
        rejected = [event for event in api.log.stored if event.event.type == "plan.rejected"]
        assert len(rejected) == 2


@pytest.mark.asyncio
async def test_a_batch_keeps_correlation_ids_and_the_mode_of_each_item() -> None:
    async with running_api() as api, api.client() as client:
        items = [DecideBatchItem(correlation_id=f"c{n}", request=request(), dry_run=n == 1) for n in range(3)]
        batch = DecideBatchRequest(items=items)
        response = await client._decisions.DecideBatch(batch, metadata=bearer(client.token))
        assert [result.correlation_id for result in response.results] == ["c0", "c1", "c2"]
        modes = [result.response.decision.mode for result in response.results]
        assert modes == [decision_pb2.MODE_ENFORCE, decision_pb2.MODE_DRY_RUN, decision_pb2.MODE_ENFORCE]


@pytest.mark.asyncio
@pytest.mark.parametrize("ids", [[], ["a", "a"], [str(number) for number in range(1001)]])
async def test_a_batch_that_breaks_the_contract_is_refused_whole(ids: list[str]) -> None:
    async with running_api() as api, api.client() as client:
        batch = DecideBatchRequest(items=[DecideBatchItem(correlation_id=id_) for id_ in ids])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client._decisions.DecideBatch(batch, metadata=bearer(client.token))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert api.engine.documents == []


@pytest.mark.asyncio
async def test_steps_are_extracted_from_the_text_of_a_model() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "delete", "arguments": "{}"}}
    message = tool_call_message("openai", json.dumps({"tool_calls": [call]}), server="db")
    async with running_api() as api, api.client() as client:
        answer = await client.decide(PlanBuilder(intent="tidy"), message=message)
        assert answer.outcome == "DENY"
        with pytest.raises(RequestRefusedError, match="both in the plan and in the message"):
            await client.decide(plan(), message=message)
        message.format = 0
        with pytest.raises(RequestRefusedError) as unshaped:
            await client.decide(PlanBuilder(), message=message)
        assert unshaped.value.metadata["field"] == "message.format"


@pytest.mark.asyncio
async def test_a_rejected_plan_is_on_the_record_with_its_reason() -> None:
    async with running_api() as api, api.client() as client:
        with pytest.raises(RequestRefusedError):
            await client.decide(plan("bare", trace_id="c" * 32))
        (event,) = api.log.stored
        details = event.event.details()
        assert (event.event.type, event.event.trace_id) == ("plan.rejected", "c" * 32)
        assert (details["principal"], details["reason"]) == (AGENT, "INVALID_PLAN")
        assert details["metadata"]["field"] == "steps[0].tool"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("failure", "reason", "kind"),
    [
        (NoDecisionError("undefined", why="undefined"), "NO_DECISION", RetryLaterError),
        (EngineUnavailableError("gone", why="deadline"), "ENGINE_UNAVAILABLE", RetryLaterError),
        (RuntimeError("secret of the house"), "INTERNAL", FaultError),
    ],
)
async def test_whatever_fails_behind_is_an_error_and_tells_nothing_more(
    failure: Exception, reason: str, kind: type[AisecopsClientError]
) -> None:
    async with running_api() as api, api.client() as client:
        api.engine.failure = failure
        with pytest.raises(kind) as caught:
            await client.decide(plan())
        assert caught.value.reason == reason
        assert "secret" not in str(caught.value)


@pytest.mark.asyncio
async def test_a_sealed_log_withholds_every_decision() -> None:
    async with running_api() as api, api.client() as client:
        api.log.sealed = "disk full"
        with pytest.raises(FaultError) as caught:
            await client.decide(plan())
        assert (caught.value.reason, caught.value.code) == ("SEALED", grpc.StatusCode.FAILED_PRECONDITION)
        with pytest.raises(FaultError) as rejected:
            await client.decide(plan("bare"))
        assert rejected.value.reason == "SEALED"


@pytest.mark.asyncio
async def test_an_engine_that_does_not_answer_ends_at_the_deadline() -> None:
    async with running_api() as api, api.client() as client:
        never = asyncio.Event()

        async def hang(_document: bytes, *, deadline_seconds: float) -> None:
            await never.wait()

        api.engine.evaluate = hang
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client._decisions.Decide(request(), metadata=bearer(client.token))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.asyncio
async def test_an_agent_explains_its_own_decisions_and_an_auditor_all() -> None:
    async with running_api() as api, api.client() as agent:
        decision = (await agent.decide(plan("db/delete"))).decision
        own = await agent.explain(decision.decision_id)
        assert own.initiator.agent_id == AGENT
        assert [(use.capability, use.granted_by) for use in own.capabilities] == [("cap", "team-a")]
        assert [(found.source_id, list(found.pointers)) for found in own.influences] == [("prompt", ["/to"])]
        assert own.decision.findings[0].location.line == 7
        assert own.replay.reproduced
        assert own.document_json == api.engine.documents[0]
        async with api.client(Role.AUDITOR, subject="auditor") as auditor:
            assert (await auditor.explain(decision.decision_id, full=True)).decision == own.decision
        async with api.client(subject="other") as other:
            evaluated = len(api.engine.documents)
            with pytest.raises(NotFoundError):
                await other.explain(decision.decision_id)
            # Nothing was evaluated for somebody who may not see it.
            assert len(api.engine.documents) == evaluated
        with pytest.raises(NotFoundError):
            await agent.explain("dec-unknown")
        with pytest.raises(RequestRefusedError):
            await agent.explain("")
