"""Whatever bytes arrive: a clear refusal, never an allow, never an unknown error, never a hang."""

from __future__ import annotations

import random

import grpc
import pytest
from aisecops.v1 import decision_pb2, decision_service_pb2
from aisecops.v1.decision_service_pb2 import DecideRequest, DecideResponse
from aisecops.v1.plan_pb2 import ExecutionPlan, Step
from aisecops_client.messages import bearer
from aisecops_server.domain.callers.identity import Role

from tests.integration.api.calls import EVERY_CALL, call, reason_of
from tests.integration.api.plans import plan, request
from tests.integration.api.running import Api, running_api

DECIDE = "/aisecops.v1.DecisionService/Decide"
FOLLOWED = {"/aisecops.v1.AuditService/StreamEvents", "/aisecops.v1.ExecutionService/StreamIncidents"}
FUZZED = 10_000
REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS}
# What a control plane says that has no policy live and knows no edge; anything else it says would be a surprise.
HAS_NOTHING = {"NO_LIVE_REVISION", "RECORDS_REFUSED", "POLICY_STALE", "ROLLOUT_REFUSED"}


@pytest.mark.asyncio
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"not protobuf", b"\x0a\x05abc", b"\x0b" * 200])
async def test_bytes_that_are_no_message_are_an_invalid_argument(data: bytes) -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        metadata = bearer(api.token(*Role))
        for name in EVERY_CALL:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, name, data, metadata)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name
            assert reason_of(refused.value) == "INVALID_REQUEST"
        assert api.engine.documents == []


def spoiled(arguments: bytes) -> DecideRequest:
    return DecideRequest(plan=ExecutionPlan(steps=[Step(step_id="s", tool="a/b", arguments_json=arguments)]))


def with_kind(number: int) -> DecideRequest:
    changed = request()
    changed.plan.sources[0].kind = number
    return changed


def with_trust(number: int) -> DecideRequest:
    changed = request()
    changed.plan.sources[0].declared_trust = number
    return changed


def with_format(number: int) -> DecideRequest:
    changed = DecideRequest(plan=ExecutionPlan(intent="x"))
    changed.message.format = number
    return changed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (DecideRequest(), "steps"),
        (spoiled(b'{"a":1,"a":2}'), "steps[0].arguments_json"),
        (spoiled(b'{"a":NaN}'), "steps[0].arguments_json"),
        (spoiled(b'{"a":9007199254740993}'), "steps[0].arguments_json"),
        (spoiled(b'{"a":' * 33 + b"1" + b"}" * 33), "steps[0].arguments_json"),
        (spoiled(b'{"a":"' + b"x" * 300_000 + b'"}'), "steps[0].arguments_json"),
        (spoiled(b"{} " + b"{}"), "steps[0].arguments_json"),
        (spoiled(b'{"a":"\xff"}'), "steps[0].arguments_json"),
        (spoiled(('{"' + "\U0001f600" * 300 + '":{"a":1,"a":1}}').encode()), "steps[0].arguments_json"),
        (with_kind(0), "sources[0].kind"),
        (with_kind(99), "sources[0].kind"),
        (with_trust(99), "sources[0].declared_trust"),
        (with_format(99), "message.format"),
        (request(key="k" * 129), "idempotency_key"),
        (request(key="k\n"), "idempotency_key"),
    ],
)
async def test_a_bad_plan_is_refused_by_the_name_of_its_field(bad: DecideRequest, field: str) -> None:
    async with running_api() as api, api.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client._decisions.Decide(bad, metadata=bearer(client.token))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (refused.value.details() or "").startswith(field)
        assert [event.event.type for event in api.log.stored] == ["plan.rejected"]
        assert api.engine.documents == []


@pytest.mark.asyncio
async def test_a_message_beyond_the_limit_is_stopped_at_the_door() -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, DECIDE, b"\x1a" + b"x" * 5 * 1024 * 1024, bearer(api.token()))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert api.log.stored == []


@pytest.mark.asyncio
async def test_a_compressed_request_is_not_inflated() -> None:
    async with running_api() as api:
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(api.address, options, grpc.Compression.Gzip) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, DECIDE, request().SerializeToString(), bearer(api.token()))
            assert refused.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}
        assert api.engine.documents == []


def mutated(good: list[bytes], chance: random.Random) -> bytes:
    data = bytearray(chance.choice(good))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at:at] = chance.randbytes(chance.randint(1, 8))
            case 1:
                del data[at : at + chance.randint(1, 16)]
            case 2 if data:
                at %= len(data)
                data[at] ^= 1 << chance.randrange(8)
            case _:
                other = chance.choice(good)
                data[at:] = other[chance.randrange(len(other)) :]
    return bytes(data) if chance.random() > 0.1 else chance.randbytes(chance.randint(0, 64))


async def fuzz(api: Api, name: str, good: list[bytes], count: int) -> list[bytes]:
    """Send ``count`` spoiled requests; return the answers of those that were good after all."""
    chance = random.Random(20261123)
    metadata = bearer(api.token(*Role))
    answers, refused = [], []
    async with grpc.aio.insecure_channel(api.address) as channel:
        for _ in range(count):
            try:
                answers.append(await call(channel, name, mutated(good, chance), metadata))
            except grpc.aio.AioRpcError as error:
                refused.append((error.code(), reason_of(error)))
    assert {code for code, reason in refused if reason not in HAS_NOTHING} <= REFUSALS, refused
    assert all(reason for _, reason in refused)
    return answers


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_spoiled_requests_are_refused_or_decided_by_policy() -> None:
    # Every good request asks for what policy denies, so an allow could only come from a spoiled one.
    good = [request("db/delete").SerializeToString(), request("db/delete", "k").SerializeToString()]
    async with running_api() as api:
        answers = await fuzz(api, DECIDE, good, FUZZED)
        decided = [DecideResponse.FromString(answer).decision for answer in answers]
        allowed = [found for found in decided if found.outcome == decision_pb2.OUTCOME_ALLOW]
        # A changed tool name is another plan; the denied tool itself must never be in an allowed document.
        assert all(b'"name":"delete"' not in api.log.decisions[found.decision_id].document for found in allowed)
        assert len(decided) > 0


@pytest.mark.asyncio
async def test_every_other_call_survives_spoiled_requests() -> None:
    good = [
        decision_service_pb2.ExplainRequest(decision_id="dec-1", full=True).SerializeToString(),
        decision_service_pb2.DryRunRequest(request=request(), revision="main").SerializeToString(),
        decision_service_pb2.SessionRequest(correlation_id="c", plan=plan()).SerializeToString(),
    ]
    async with running_api() as api:
        # A stream that a spoiled request asks to follow would rightly never end.
        for name in set(EVERY_CALL) - {DECIDE, *FOLLOWED}:
            await fuzz(api, name, good, 100)
