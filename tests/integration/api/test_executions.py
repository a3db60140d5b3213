"""Grants and incidents over the API: who may do what, strictly read, on a real log."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from aisecops.v1 import decision_pb2, execution_service_pb2, grant_pb2
from aisecops.v1.decision_service_pb2 import (
    DecideBatchRequest,
    DecideBatchResponse,
    DecideRequest,
    DecideResponse,
    SessionRequest,
    SessionResponse,
)
from aisecops_client.messages import bearer
from aisecops_server.adapters.identity.issuer import KEY_SET_FILE, TokenIssuer, local_issuer
from aisecops_server.adapters.sqlite.event_log import LogOptions, SqliteEventLog, open_log
from aisecops_server.domain.callers.identity import Role
from aisecops_server.entrypoints.grpc.server import Listening, serve
from google.protobuf.message import Message

from tests.fakes.clock import FakeClock
from tests.integration.api.calls import call, reason_of
from tests.integration.api.plans import plan, request
from tests.integration.api.running import AGENT, served_by
from tests.scenes.grants.granting import arguments_digest

pytestmark = pytest.mark.asyncio
EXECUTION = "/aisecops.v1.ExecutionService"
KEY = "k" * 16
ARGUMENTS = arguments_digest(to="ada@example.org")
OTHER = "0" * 64


@dataclass
class Calls:
    """The API on a real log, called with whatever role."""

    channel: grpc.aio.Channel
    issuer: TokenIssuer
    clock: FakeClock
    log: SqliteEventLog

    def __post_init__(self) -> None:
        self.token = self.issuer.mint(AGENT, [Role.AGENT])

    async def decide(self, asked: DecideRequest) -> DecideResponse:
        answer = await call(
            self.channel, "/aisecops.v1.DecisionService/Decide", asked.SerializeToString(), bearer(self.token)
        )
        return DecideResponse.FromString(answer)

    async def ask(self, name: str, asked: Message, *roles: Role, subject: str = AGENT) -> Any:
        token = self.issuer.mint(subject, roles) if roles else self.token
        answer = await call(self.channel, f"{EXECUTION}/{name}", asked.SerializeToString(), bearer(token))
        return getattr(execution_service_pb2, f"{name}Response").FromString(answer)

    async def refused(self, name: str, asked: Message, *roles: Role, subject: str = AGENT) -> tuple[str, str]:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await self.ask(name, asked, *roles, subject=subject)
        return reason_of(error.value), (error.value.details() or "").partition(":")[0]

    def redemption(self, grant: grant_pb2.Grant, **changed: Any) -> execution_service_pb2.RedeemRequest:
        fields = {"token": grant.token, "redemption_key": KEY, "tool": grant.tool, "arguments_sha256": ARGUMENTS}
        return execution_service_pb2.RedeemRequest(**fields | changed)


def report(**changed: Any) -> execution_service_pb2.ExecutionReport:
    fields: dict[str, Any] = {
        "outcome": execution_service_pb2.EXECUTION_OUTCOME_EXECUTED,
        "tool": "mail/send",
        "arguments_sha256": ARGUMENTS,
    }
    return execution_service_pb2.ExecutionReport(**fields | changed)


@asynccontextmanager
async def calls() -> AsyncIterator[Calls]:
    with tempfile.TemporaryDirectory() as directory:
        root, clock = Path(directory), FakeClock()
        log = open_log(root / "audit.db", LogOptions(minimum_free_bytes=0))
        issuer = local_issuer(root / "keys", clock)
        served = served_by(root / "keys" / KEY_SET_FILE, clock=clock, log=log, grants=log.grants)
        server = await serve(served, Listening(root / "run" / "api.sock"))
        async with grpc.aio.insecure_channel(f"unix:{server.socket}") as channel:
            yield Calls(channel, issuer, clock, log)
        await server.stop(0)
        await log.close()


async def test_a_grant_goes_from_decision_to_completion() -> None:
    async with calls() as api:
        answer = await api.decide(request())
        [grant] = answer.grants
        assert (grant.tool, grant.step_id, grant.arguments_sha256) == ("mail/send", "step-1", ARGUMENTS)
        assert [item.kind for item in grant.obligations] == ["notify"]
        assert grant.expires_at.seconds - answer.decision.decided_at.seconds == 30
        redeemed = await api.ask("Redeem", api.redemption(grant))
        assert (redeemed.grant_id, redeemed.retried) == (grant.grant_id, False)
        assert (await api.ask("Redeem", api.redemption(grant))).retried
        completion = execution_service_pb2.CompleteRequest(grant_id=grant.grant_id, report=report())
        completed = await api.ask("Complete", completion)
        assert (completed.state, list(completed.incidents)) == (grant_pb2.GRANT_STATE_EXECUTED, [])
        listed = await api.ask(
            "ListGrants",
            execution_service_pb2.ListGrantsRequest(decision_id=answer.decision.decision_id),
            Role.AUDITOR,
        )
        [status] = listed.grants
        assert (status.grant_id, status.state) == (grant.grant_id, grant_pb2.GRANT_STATE_EXECUTED)


async def test_every_way_to_decide_gives_grants_and_a_dry_run_gives_none() -> None:
    async with calls() as api:
        batch = DecideBatchRequest()
        for at, dry in enumerate((False, True)):
            batch.items.add(correlation_id=str(at), request=request(), dry_run=dry)
        place = "/aisecops.v1.DecisionService"
        data = await call(api.channel, f"{place}/DecideBatch", batch.SerializeToString(), bearer(api.token))
        from_batch = [len(result.response.grants) for result in DecideBatchResponse.FromString(data).results]
        session = api.channel.stream_stream(f"{place}/Session")(metadata=bearer(api.token))
        counts = []
        for at in range(2):
            message = SessionRequest(correlation_id=str(at), plan=plan())
            message.plan.steps[0].step_id = f"s{at}"
            if at:
                message.plan.sources[0].source_id = "prompt-2"
                message.plan.steps[0].influenced_by[0] = "prompt-2"
                message.plan.steps[0].depends_on.append("s0")
            await session.write(message.SerializeToString())
            answer = SessionResponse.FromString(await session.read())
            counts.append(answer.response.grants)
        session.cancel()
        assert (from_batch, [len(grants) for grants in counts]) == ([1, 0], [1, 1])
        # What was decided earlier in the stream has to run first, though another decision granted it.
        [first], [second] = counts
        assert (await api.refused("Redeem", api.redemption(second)))[0] == "GRANT_NOT_USABLE"
        await api.ask("Redeem", api.redemption(first))
        await api.ask("Complete", execution_service_pb2.CompleteRequest(grant_id=first.grant_id, report=report()))
        await api.ask("Redeem", api.redemption(second))


async def test_a_denial_gives_no_grant() -> None:
    async with calls() as api:
        answer = await api.decide(request("db/delete"))
        assert (answer.decision.outcome, len(answer.grants)) == (decision_pb2.OUTCOME_DENY, 0)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"token": ""}, "token"),
        ({"token": "x" * 20_000}, "token"),
        ({"redemption_key": "short"}, "redemption_key"),
        ({"redemption_key": "k" * 129}, "redemption_key"),
        ({"redemption_key": "spaces are not in it"}, "redemption_key"),
        ({"tool": "send"}, "tool"),
        ({"arguments_sha256": "ABC"}, "arguments_sha256"),
        ({"presented_by": {"agent_id": AGENT}}, "presented_by"),
    ],
)
async def test_a_redemption_that_breaks_the_contract_names_its_field(changed: dict[str, Any], field: str) -> None:
    async with calls() as api:
        [grant] = (await api.decide(request())).grants
        assert await api.refused("Redeem", api.redemption(grant, **changed)) == ("INVALID_REQUEST", field)
        await api.ask("Redeem", api.redemption(grant))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"outcome": 0}, "report.outcome"),
        ({"outcome": 9}, "report.outcome"),
        ({"tool": "no"}, "report.tool"),
        ({"arguments_sha256": ""}, "report.arguments_sha256"),
        ({"result_sha256": "no"}, "report.result_sha256"),
        ({"failure": "x" * 513}, "report.failure"),
        ({"started_at_seconds": -1}, "report.started_at_seconds"),
        ({"cost": {"tokens": -1}}, "report.cost.tokens"),
        ({"cost": {"micro_usd": 10**16}}, "report.cost.micro_usd"),
    ],
)
async def test_a_report_that_breaks_the_contract_names_its_field(changed: dict[str, Any], field: str) -> None:
    async with calls() as api:
        [grant] = (await api.decide(request())).grants
        completion = execution_service_pb2.CompleteRequest(grant_id=grant.grant_id, report=report(**changed))
        assert await api.refused("Complete", completion) == ("INVALID_REQUEST", field)
        seen = execution_service_pb2.ReportExecutionRequest(report=report(**changed))
        assert await api.refused("ReportExecution", seen) == ("INVALID_REQUEST", field)


async def test_a_tool_server_says_who_presented_the_grant_and_an_agent_speaks_for_itself() -> None:
    async with calls() as api:
        [grant] = (await api.decide(request())).grants
        tool = {"subject": "spiffe://example.org/tool/mail"}
        assert await api.refused("Redeem", api.redemption(grant), Role.TOOL, **tool) == (
            "INVALID_REQUEST",
            "presented_by",
        )
        nobody = api.redemption(grant, presented_by={})
        assert await api.refused("Redeem", nobody, Role.TOOL, **tool) == ("INVALID_REQUEST", "presented_by")
        presented = api.redemption(grant, presented_by={"agent_id": AGENT})
        assert (await api.ask("Redeem", presented, Role.TOOL, **tool)).grant_id == grant.grant_id
        seen = execution_service_pb2.ReportExecutionRequest(report=report(), agent_id=AGENT)
        assert list((await api.ask("ReportExecution", seen, Role.TOOL, **tool)).incidents) == ["run_without_grant"]
        other = execution_service_pb2.ReportExecutionRequest(report=report(), agent_id="agent-b")
        assert await api.refused("ReportExecution", other) == ("INVALID_REQUEST", "agent_id")


async def test_a_stolen_token_of_a_grant_opens_nothing_for_another_agent() -> None:
    async with calls() as api:
        [grant] = (await api.decide(request())).grants
        refusal = await api.refused("Redeem", api.redemption(grant), Role.AGENT, subject="spiffe://example.org/agent/b")
        assert refusal[0] == "GRANT_NOT_USABLE"
        listed = await api.ask("ListIncidents", execution_service_pb2.ListIncidentsRequest(), Role.SECOPS)
        [incident] = listed.incidents
        assert (incident.kind, incident.severity, incident.agent_id) == ("other_caller", "critical", AGENT)
        assert incident.reported_by == "spiffe://example.org/agent/b"
        assert json.loads(incident.event.body_json)["type"] == "incident.other_caller"


async def test_incidents_are_streamed_and_nothing_else_is() -> None:
    async with calls() as api:
        seen = execution_service_pb2.ReportExecutionRequest(report=report())
        await api.decide(request())
        await api.ask("ReportExecution", seen)
        stream = api.channel.unary_stream(f"{EXECUTION}/StreamIncidents")(
            execution_service_pb2.StreamIncidentsRequest(follow=True).SerializeToString(),
            metadata=bearer(api.issuer.mint(AGENT, [Role.SECOPS])),
        )
        first = execution_service_pb2.StreamIncidentsResponse.FromString(await stream.read())
        await api.ask("ReportExecution", seen)
        second = execution_service_pb2.StreamIncidentsResponse.FromString(await stream.read())
        stream.cancel()
        assert [answer.incident.kind for answer in (first, second)] == ["run_without_grant"] * 2
        assert first.incident.event.log_index < second.incident.event.log_index


@pytest.mark.parametrize(
    ("name", "asked", "field"),
    [
        ("ListIncidents", execution_service_pb2.ListIncidentsRequest(kind="odd"), "kind"),
        ("ListIncidents", execution_service_pb2.ListIncidentsRequest(severity="odd"), "severity"),
        ("ListIncidents", execution_service_pb2.ListIncidentsRequest(trace_id="odd"), "trace_id"),
        ("ListIncidents", execution_service_pb2.ListIncidentsRequest(agent_id="a b"), "agent_id"),
        ("ListIncidents", execution_service_pb2.ListIncidentsRequest(page_token="odd"), "page_token"),
        ("ListIncidents", execution_service_pb2.ListIncidentsRequest(page_size=-1), "page_size"),
        ("ListGrants", execution_service_pb2.ListGrantsRequest(decision_id=""), "decision_id"),
        ("RevokeGrants", execution_service_pb2.RevokeGrantsRequest(), "name an agent or a decision, and not both"),
        ("RevokeGrants", execution_service_pb2.RevokeGrantsRequest(agent_id="a", reason="x" * 1001), "reason"),
    ],
)
async def test_other_requests_that_break_the_contract_name_their_field(name: str, asked: Message, field: str) -> None:
    async with calls() as api:
        reason, said = await api.refused(name, asked, Role.SECOPS)
        assert reason == "INVALID_REQUEST"
        assert said.startswith(field)


async def test_revoked_grants_are_counted_and_open_nothing() -> None:
    async with calls() as api:
        [grant] = (await api.decide(request())).grants
        asked = execution_service_pb2.RevokeGrantsRequest(agent_id=AGENT, reason="odd behaviour")
        assert (await api.ask("RevokeGrants", asked, Role.SECOPS)).revoked == 1
        assert (await api.refused("Redeem", api.redemption(grant)))[0] == "GRANT_NOT_USABLE"
