"""Who may call what, over a real connection: every call, every role, and every way to have no credential."""

from __future__ import annotations

import grpc
import pytest
from aisecops.v1.decision_service_pb2 import SessionRequest
from aisecops_client.messages import bearer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.access import ROLES_OF_CALL

from tests.integration.api.calls import EVERY_CALL, call, reason_of
from tests.integration.api.plans import plan
from tests.integration.api.running import running_api

READERS = {Role.AUDITOR, Role.SECURITY, Role.SECOPS, Role.PLATFORM}
REPLAYERS = {Role.AUDITOR, Role.SECURITY, Role.PLATFORM, Role.APP}
EXPECTED = {
    "DecisionService/Decide": {Role.AGENT},
    "DecisionService/DecideBatch": {Role.AGENT},
    "DecisionService/Session": {Role.AGENT},
    "DecisionService/DryRun": {Role.AGENT, Role.APP, Role.SECURITY, Role.PLATFORM},
    "DecisionService/Explain": {Role.AGENT, Role.APP} | READERS,
    "BundleService/ListRevisions": READERS,
    "BundleService/GetRevision": READERS,
    "BundleService/GetPolicyFile": READERS,
    "BundleService/DiffRevisions": READERS,
    "BundleService/GetStatus": READERS,
    "BundleService/Activate": {Role.SECURITY, Role.PLATFORM},
    "BundleService/Rollback": {Role.SECURITY, Role.PLATFORM},
    "BundleService/Sync": {Role.SECURITY, Role.PLATFORM},
    "RolloutService/StartRollout": {Role.SECURITY, Role.PLATFORM},
    "RolloutService/SetCanary": {Role.SECURITY, Role.PLATFORM},
    "RolloutService/PromoteRollout": {Role.SECURITY, Role.PLATFORM},
    "RolloutService/RollBackRollout": {Role.SECURITY, Role.PLATFORM},
    "RolloutService/AbortRollout": {Role.SECURITY, Role.PLATFORM},
    "RolloutService/GetRollout": READERS,
    "RolloutService/ListRollouts": READERS,
    "ExecutionService/Redeem": {Role.AGENT, Role.TOOL},
    "ExecutionService/Complete": {Role.AGENT},
    "ExecutionService/ReportExecution": {Role.AGENT, Role.TOOL},
    "ExecutionService/ListGrants": READERS,
    "ExecutionService/RotateGrantKey": {Role.SECURITY, Role.PLATFORM},
    "ExecutionService/RevokeGrants": {Role.SECURITY, Role.PLATFORM, Role.SECOPS},
    "ExecutionService/GetGrantKeys": set(Role),
    "KeyService/GetKeys": set(Role),
    "KeyService/RotateKey": {Role.SECURITY, Role.PLATFORM},
    "ExecutionService/ListIncidents": READERS,
    "ExecutionService/StreamIncidents": READERS,
    "AgentService/ListAgents": READERS,
    "AgentService/GetAgent": READERS,
    "AgentService/GetMaturity": READERS,
    "AuditService/GetTrace": READERS,
    "AuditService/GetEvent": READERS,
    "AuditService/ListTraces": READERS,
    "AuditService/ListTraceFacets": READERS,
    "AuditService/StreamEvents": READERS,
    "EvidenceService/ExportEvidence": READERS,
    "InvestigationService/GetExecutionGraph": READERS,
    "InvestigationService/GetGovernanceDiff": READERS,
    "BudgetService/ListBudgets": {Role.AGENT, Role.APP} | READERS,
    "BudgetService/GetBudget": {Role.AGENT, Role.APP} | READERS,
    "BudgetService/GetHistory": {Role.AGENT, Role.APP} | READERS,
    "BudgetService/AdjustBudget": {Role.SECURITY, Role.PLATFORM},
    "BudgetService/ReleaseReservation": {Role.SECURITY, Role.PLATFORM},
    "AgentService/ListTools": {Role.AGENT},
    "RetentionService/PlanRetention": READERS,
    "RetentionService/ApplyRetention": {Role.SECURITY, Role.PLATFORM},
    "RetentionService/EraseTrace": {Role.SECURITY},
    "RetentionService/AddHold": {Role.SECURITY, Role.SECOPS},
    "RetentionService/ReleaseHold": {Role.SECURITY, Role.SECOPS},
    "RetentionService/ListHolds": READERS,
    "ReplayService/StartReplay": REPLAYERS,
    "ReplayService/CancelReplay": REPLAYERS,
    "ReplayService/WatchReplay": READERS | REPLAYERS,
    "ReplayService/GetReplay": READERS | REPLAYERS,
    "ReplayService/ListReplays": READERS | REPLAYERS,
    "ReplayService/ListReplayResults": READERS | REPLAYERS,
    "ReplayService/ListFlipGroups": READERS | REPLAYERS,
    "ReviewService/JudgeFlip": {Role.SECURITY, Role.SECOPS},
    "ReviewService/GetReview": READERS | REPLAYERS,
    "ReplayService/ExplainChange": READERS,
    "ReplayService/CompareRevisions": READERS,
    "ReplayService/BisectDecisions": READERS,
    "ScreenService/Screen": {Role.AGENT},
    "ComplianceService/ListFrameworks": READERS,
    "ComplianceService/GetFramework": READERS,
    "ComplianceService/CheckCompliance": READERS,
    "DriftService/GetDrift": READERS,
    "DriftService/CheckDrift": REPLAYERS - {Role.APP},
    "ExportService/ExportEvents": READERS,
    "ExportService/ExportTraces": READERS,
    "TransparencyService/GetCheckpoint": {Role.AGENT, Role.APP} | READERS,
    "TransparencyService/ProveInclusion": READERS,
    "TransparencyService/ProveConsistency": {Role.AGENT, Role.APP} | READERS,
    "TransparencyService/RotateLogKey": {Role.SECURITY, Role.PLATFORM},
    "ApprovalService/ListApprovals": {Role.AGENT} | READERS,
    "ApprovalService/GetApproval": {Role.AGENT} | READERS,
    "ApprovalService/Wait": {Role.AGENT} | READERS,
    "ApprovalService/WatchWaiting": READERS,
    "ApprovalService/ListNotices": READERS,
    "ApprovalService/VoteTogether": {Role.SECOPS, Role.SECURITY},
    "ApprovalService/ResendNotice": {Role.SECOPS, Role.SECURITY, Role.PLATFORM},
    "ApprovalService/Vote": {Role.SECOPS, Role.SECURITY},
    "ApprovalService/Withdraw": {Role.AGENT, Role.SECOPS, Role.SECURITY},
    "EdgeService/GetRelease": {Role.EDGE},
    "EdgeService/GetBundle": {Role.EDGE},
    "EdgeService/Enrol": {Role.EDGE},
    "EdgeService/Reconcile": {Role.EDGE},
    "EdgeService/ListEdges": READERS,
}


def test_the_table_lists_every_call_and_nothing_else() -> None:
    assert set(ROLES_OF_CALL) == set(EVERY_CALL)
    assert {f"/aisecops.v1.{name}" for name in EXPECTED} == set(EVERY_CALL)


@pytest.mark.asyncio
async def test_every_role_gets_through_to_exactly_its_calls() -> None:
    let_in: dict[str, set[Role]] = {name: set() for name in EXPECTED}
    reasons = set()
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        for role in Role:
            metadata = bearer(api.token(role))
            for name in EXPECTED:
                try:
                    await call(channel, f"/aisecops.v1.{name}", b"", metadata)
                except grpc.aio.AioRpcError as error:
                    # An empty request is mostly a bad one, which only those learn who may make the call.
                    if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                        reasons.add(reason_of(error))
                        continue
                let_in[name].add(role)
    assert let_in == EXPECTED
    assert reasons == {"NOT_PERMITTED"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer letmein")],
        [("authorization", "Basic YTpi")],
        [("x-agent-id", "spiffe://example.org/agent/support")],
        [("authorization", "Bearer a.b.c"), ("authorization", "Bearer d.e.f")],
    ],
)
async def test_without_a_good_credential_no_call_gets_through(metadata: list[tuple[str, str]]) -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        for name in EVERY_CALL:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, name, b"\xff", metadata)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert reason_of(refused.value) == "UNAUTHENTICATED"
        assert (api.log.stored, api.engine.documents) == ([], [])


@pytest.mark.asyncio
async def test_a_second_credential_does_not_slip_in_beside_a_good_one() -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        metadata = [*bearer(api.token()), *bearer(api.token(Role.PLATFORM))]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, "/aisecops.v1.DecisionService/Decide", b"", metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.asyncio
async def test_a_session_ends_when_its_credential_does() -> None:
    async with running_api() as api, grpc.aio.insecure_channel(api.address) as channel:
        session = channel.stream_stream("/aisecops.v1.DecisionService/Session")(metadata=bearer(api.token(seconds=60)))
        message = SessionRequest(correlation_id="1", plan=plan()).SerializeToString()
        await session.write(message)
        assert await session.read() is not grpc.aio.EOF
        api.clock.advance(60)
        await session.write(message)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await session.read()
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert len(api.engine.documents) == 1
