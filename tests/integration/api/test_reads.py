"""Who reads what is on record is on record, before the answer leaves; agents that ask for their own are not."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import grpc
import pytest
from aisecops.v1.audit_service_pb2 import StreamEventsResponse
from aisecops_client import NotFoundError
from aisecops_client.messages import bearer
from aisecops_server.adapters.sqlite.event_log import LogOptions, open_log
from aisecops_server.adapters.system import RandomIds, SystemClock
from aisecops_server.domain.callers.identity import Presented, Principal, PrincipalId, Role
from aisecops_server.domain.log.reading import Reading
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.reads import SUBJECT_OF_READ, told_stream
from aisecops_server.usecases.log.record_reads import RecordReads
from google.protobuf.message import Message

from tests.integration.api.calls import EVERY_CALL, call
from tests.integration.api.plans import plan
from tests.integration.api.real import running, settings_in
from tests.integration.api.running import running_api

READERS = {Role.AUDITOR, Role.SECURITY, Role.SECOPS, Role.PLATFORM}
# What every reader may call, and shows nothing that agents or people said or did in a trace.
NOT_OF_TRACES = """
BundleService/ListRevisions BundleService/GetRevision BundleService/GetPolicyFile BundleService/DiffRevisions
BundleService/GetStatus RolloutService/GetRollout RolloutService/ListRollouts ExecutionService/ListGrants
ExecutionService/GetGrantKeys AgentService/ListAgents AgentService/GetAgent AgentService/GetMaturity
BudgetService/ListBudgets BudgetService/GetBudget BudgetService/GetHistory RetentionService/PlanRetention
RetentionService/ListHolds ReplayService/WatchReplay ReplayService/GetReplay ReplayService/ListReplays
ReviewService/GetReview ComplianceService/ListFrameworks ComplianceService/GetFramework
ComplianceService/CheckCompliance DriftService/GetDrift TransparencyService/GetCheckpoint
TransparencyService/ProveInclusion TransparencyService/ProveConsistency ApprovalService/ListNotices
EdgeService/ListEdges ApprovalService/WatchWaiting KeyService/GetKeys
"""
# These leave an event of their own, which names more.
EXPORTED = {"EvidenceService/ExportEvidence", "ExportService/ExportEvents", "ExportService/ExportTraces"}


def test_every_call_of_readers_is_told_or_shows_no_trace() -> None:
    of_readers = {name for name in EVERY_CALL if ROLES_OF_CALL[name] >= READERS}
    shown = {name.rpartition(".")[2] for name in of_readers - SUBJECT_OF_READ.keys()}
    assert shown - EXPORTED == set(NOT_OF_TRACES.split())
    assert SUBJECT_OF_READ.keys() <= of_readers


@pytest.mark.parametrize("name", SUBJECT_OF_READ)
def test_the_fields_that_name_what_is_read_are_of_its_request(name: str) -> None:
    kind, fields = SUBJECT_OF_READ[name]
    service, method = name.lstrip("/").split("/")
    module = importlib.import_module(kind.__module__)
    described = module.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name[method]
    assert described.input_type is kind.DESCRIPTOR
    assert set(fields) <= {field.name for field in kind.DESCRIPTOR.fields}


@pytest.mark.asyncio
async def test_a_reader_is_on_record_with_what_they_got_and_an_agent_is_not() -> None:
    async with running_api() as api:
        async with api.client() as agent:
            answer = await agent.decide(plan())
            await agent.explain(answer.decision.decision_id)
        async with api.client(Role.AUDITOR, subject="ada") as ada:
            await ada.trace(answer.decision.trace_id)
            await ada.trace(answer.decision.trace_id)
            await ada.explain(answer.decision.decision_id)
            with pytest.raises(Exception, match="no trace"):
                await ada.trace("f" * 32)
            [_ async for _ in ada.events()]
        async with grpc.aio.insecure_channel(api.address) as channel:
            name, of_eve = "/aisecops.v1.AuditService/GetTrace", bearer(api.token(Role.SECOPS, subject="eve"))
            with pytest.raises(grpc.aio.AioRpcError):
                await call(channel, name, b"\xff\xff", of_eve)
        told = [event.details() for stored in api.log.stored if (event := stored.event).type == "evidence.read"]
    assert [(one["principal"], one["call"], one["subject"]) for one in told] == [
        ("ada", "AuditService/GetTrace", answer.decision.trace_id),
        ("ada", "DecisionService/Explain", answer.decision.decision_id),
        ("ada", "AuditService/StreamEvents", ""),
    ]


@pytest.mark.asyncio
async def test_a_read_is_on_record_before_it_is_answered(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path), *Role) as (control, client):
        trace = (await client.decide(plan())).decision.trace_id
        before = (await control.log.head()).size
        await client.trace(trace)
        assert (await control.log.head()).size == before + 1


@pytest.mark.asyncio
async def test_who_hangs_up_while_it_is_told_hides_nobody(tmp_path: Path) -> None:
    log = open_log(tmp_path / "state" / "audit.db", LogOptions(minimum_free_bytes=0))
    record = RecordReads(log, SystemClock(), RandomIds())
    reading = asyncio.create_task(record(Reading("ada", "AuditService/GetTrace", "a" * 32)))
    # It is at the log by then.
    for _ in range(2):
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await record(Reading("eve", "AuditService/GetTrace", "b" * 32))
    events = [one.event.details() async for one in log.events(from_index=0, follow=False, trace_id="")]
    await log.close()
    assert [one["principal"] for one in events] == ["ada", "eve"]


@pytest.mark.asyncio
async def test_who_asks_for_what_is_not_there_fills_no_log() -> None:
    async with running_api() as api, api.client(Role.AUDITOR, subject="ada") as ada:
        for number in range(50):
            with pytest.raises(NotFoundError):
                await ada.trace(f"{number:032x}")
            with pytest.raises(NotFoundError):
                await ada.explain(f"dec-{number}")
            [_ async for _ in ada.events(trace_id=f"{number:032x}")]
        assert api.log.stored == []


@pytest.mark.asyncio
async def test_who_leaves_in_the_middle_gives_back_what_a_stream_holds() -> None:
    closed = asyncio.Event()

    async def endless(_request: bytes, _caller: Caller) -> AsyncIterator[Message]:
        try:
            while True:
                yield StreamEventsResponse()
        finally:
            closed.set()

    async def tell(_reading: Reading) -> None:
        return

    caller = Caller(Principal(PrincipalId("ada"), "token", frozenset({Role.AUDITOR})), Presented("t"), 1.0, "")
    answers = told_stream("/aisecops.v1.AuditService/StreamEvents", endless, tell)(b"", caller)
    assert isinstance(answers, AsyncGenerator)
    await anext(answers)
    await answers.aclose()
    assert closed.is_set()
