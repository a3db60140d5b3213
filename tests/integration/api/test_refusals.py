"""Whoever is turned away at the door is on record, and a flood of them cannot fill it."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from aisecops.v1.decision_service_pb2 import SessionRequest
from aisecops_client.messages import bearer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.callers.refusal import MOST_KINDS

from tests.fakes.event_log import MemoryEventLog
from tests.integration.api.calls import call
from tests.integration.api.mutual_tls import ADA, AGENT, tls_api
from tests.integration.api.plans import plan
from tests.integration.api.running import running_api

SYNC, DECIDE = "/aisecops.v1.BundleService/Sync", "/aisecops.v1.DecisionService/Decide"


def told(log: MemoryEventLog) -> list[dict[str, Any]]:
    """Return the details of every event about callers who were turned away."""
    return [
        json.loads(stored.event.body)["details"] for stored in log.stored if stored.event.type == "identity.refused"
    ]


async def refused(channel: grpc.aio.Channel, name: str, metadata: list[tuple[str, str]]) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await call(channel, name, b"", metadata)


@pytest.mark.asyncio
async def test_a_call_without_the_role_is_on_record_with_who_made_it() -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        await refused(channel, SYNC, list(bearer(api.token())))
        await api.refusals.flush()
    [event] = told(api.log)
    [kind] = event["kinds"]
    assert (event["refused"], event["others"]) == (1, 0)
    assert kind == {
        "reason": "NOT_PERMITTED",
        "why": "role",
        "call": SYNC,
        "peer": "unix",
        "principal": "spiffe://example.org/agent/support",
        "claimed": "",
        "count": 1,
    }


@pytest.mark.asyncio
async def test_every_way_to_be_nobody_is_told_by_its_cause_and_carries_no_credential() -> None:
    async with running_api(tcp=True) as api, grpc.aio.insecure_channel(f"127.0.0.1:{api.server.ports[0]}") as channel:
        expired = api.token(seconds=1)
        api.clock.advance(2)
        bad = [
            [],
            [("authorization", "Bearer letmein")],
            [("authorization", "Basic YTpi")],
            list(bearer(expired)),
            [*bearer(api.token()), *bearer(api.token())],
        ]
        for metadata in bad:
            await refused(channel, DECIDE, metadata)
        await api.refusals.flush()
    [event] = told(api.log)
    assert sorted(kind["why"] for kind in event["kinds"]) == ["expired", "malformed", "none", "token"]
    assert {kind["peer"] for kind in event["kinds"]} == {"127.0.0.1"}
    body = json.dumps(event)
    assert "letmein" not in body
    assert expired not in body


@pytest.mark.asyncio
async def test_two_identities_on_one_call_are_told_with_both() -> None:
    async with tls_api() as api, api.channel(api.credentials()) as channel:
        await refused(channel, DECIDE, list(bearer(api.issuer.mint(ADA, [Role.SECURITY]))))
        await api.refusals.flush()
    [event] = told(api.log)
    [kind] = event["kinds"]
    assert (kind["why"], kind["principal"], kind["claimed"]) == ("mismatch", AGENT, ADA)


@pytest.mark.asyncio
async def test_a_stream_that_lost_its_credential_is_told_too() -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        session = channel.stream_stream("/aisecops.v1.DecisionService/Session")(metadata=bearer(api.token(seconds=60)))
        message = SessionRequest(correlation_id="1", plan=plan()).SerializeToString()
        await session.write(message)
        assert await session.read() is not grpc.aio.EOF
        api.clock.advance(60)
        await session.write(message)
        with pytest.raises(grpc.aio.AioRpcError):
            await session.read()
        await api.refusals.flush()
    assert [kind["why"] for event in told(api.log) for kind in event["kinds"]] == ["expired"]


@pytest.mark.asyncio
async def test_a_flood_is_counted_whole_and_told_in_one_short_event() -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        for number in range(400):
            token = api.token(Role.AUDITOR, subject=f"nobody-{number}")
            await refused(channel, DECIDE, list(bearer(token)))
        await api.refusals.flush()
        await api.refusals.flush()
    [event] = told(api.log)
    assert event["refused"] == 400
    assert len(event["kinds"]) == MOST_KINDS
    assert event["others"] == 400 - MOST_KINDS
    assert max(len(stored.event.body) for stored in api.log.stored) < 16 * 1024
