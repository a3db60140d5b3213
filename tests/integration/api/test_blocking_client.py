"""The client that waits says the same as the one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aisecops.v1.decision_service_pb2 import SessionRequest
from aisecops_client import AccessRefusedError, Answer, Client, NotFoundError, RequestRefusedError, RetryLaterError
from aisecops_server.domain.callers.identity import Role

from tests.fakes.policy_engine import REVISION
from tests.integration.api.plans import plan
from tests.integration.api.running import Api, running_api


def story(api: Api) -> None:
    with Client.connect(api.address, api.token(*Role)) as client:
        answer = client.decide(plan(), idempotency_key="k")
        assert answer.allowed
        assert client.decide(plan(), idempotency_key="k").receipt.replayed
        assert [
            found.outcome for found in client.decide_batch([plan(), plan("db/delete")]) if isinstance(found, Answer)
        ] == [
            "ALLOW",
            "DENY",
        ]
        assert not client.dry_run(plan()).allowed
        assert client.explain(answer.decision.decision_id).replay.reproduced
        assert client.trace(answer.decision.trace_id).decisions[0] == answer.decision
        assert len(client.traces(page_size=2).traces) == 2
        assert [event.log_index for event in client.events()][:2] == [0, 1]
        assert client.revisions().revisions[0].commit == REVISION
        assert client.revision(REVISION).rules[0].rule == "fake.tool"
        for status in (client.bundle_status(), client.activate(REVISION), client.rollback(), client.sync()):
            assert status.live.commit == REVISION

        def messages() -> Iterator[SessionRequest]:
            yield SessionRequest(correlation_id="c", plan=plan())

        ((correlation_id, found),) = client.session(messages())
        assert (correlation_id, isinstance(found, Answer) and found.allowed) == ("c", True)


def refusals(api: Api) -> None:
    with Client.connect(api.address, api.token()) as client:
        with pytest.raises(RequestRefusedError) as bad:
            client.decide(plan("bare"))
        assert (bad.value.reason, bad.value.metadata["field"]) == ("INVALID_PLAN", "steps[0].tool")
        huge = plan()
        huge.sources.add(source_id="huge", kind="SOURCE_KIND_MEMORY", content=b"x" * (5 * 1024 * 1024))
        # Refused for its size by the transport: a retry would never help.
        with pytest.raises(RequestRefusedError, match="larger than a message may be"):
            client.decide(huge)
        with pytest.raises(NotFoundError):
            client.explain("dec-0")
        with pytest.raises(AccessRefusedError) as role:
            client.bundle_status()
        assert role.value.reason == "NOT_PERMITTED"
        with pytest.raises(AccessRefusedError):
            next(client.events())
    with Client.connect(f"{api.address}.nowhere", api.token()) as client, pytest.raises(RetryLaterError):
        client.decide(plan())
    with Client.connect(api.address, "letmein") as client:
        assert "letmein" not in repr(client)
        with pytest.raises(AccessRefusedError) as unknown:
            client.decide(plan())
        assert unknown.value.reason == "UNAUTHENTICATED"


@pytest.mark.asyncio
async def test_every_call_of_the_blocking_client_is_answered() -> None:
    async with running_api() as api:
        await asyncio.to_thread(story, api)
        assert len(api.policy.asked) == 4


@pytest.mark.asyncio
async def test_every_refusal_is_a_typed_error_of_the_blocking_client() -> None:
    async with running_api() as api:
        await asyncio.to_thread(refusals, api)
        assert api.engine.documents == []
