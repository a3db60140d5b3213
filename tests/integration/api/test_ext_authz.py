"""Envoy's external authorization over a real connection, asked with the client that is generated from the official API.

A real control plane decides: the shipped policy with routes, its engine, its log.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from aisecops.v1 import approval_pb2, event_pb2
from aisecops_client import AsyncClient, PlanBuilder
from aisecops_client.messages import bearer
from aisecops_grant.verifier import GrantKeys, GrantVerifier
from aisecops_server.adapters.git.create import commit_files
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.tables.http_routes import Routes
from aisecops_server.entrypoints.grpc.server import RunningServer
from aisecops_server.settings import Settings
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from envoy.service.auth.v3.attribute_context_pb2 import AttributeContext

from tests.integration.api.mutual_tls import AGENT as TLS_AGENT
from tests.integration.api.mutual_tls import tls_api
from tests.integration.api.real import AGENT, settings_in

OPERATOR = "spiffe://corp.example/agent/operations-assistant"
GATEWAY = "spiffe://corp.example/person/gateway"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ROUTES = b"""
find-customer: {method: GET, host: crm.corp.example, path: /customers, tool: crm/find_customer,
  environment: production, query: [query]}
read-customer: {method: GET, host: crm.corp.example, path: "/customers/{customer_id}", tool: crm/read_customer,
  environment: production}
list-orders: {method: GET, host: crm.corp.example, path: "/customers/{customer_id}/orders", tool: crm/list_orders,
  environment: production}
release: {method: POST, host: deploy.corp.example, path: "/services/{service}/releases", tool: deploy/release,
  environment: production, body: json}
"""


@dataclass
class Gateway:
    """A gateway that asks, and whose connection proves that it is one."""

    plane: ControlPlane
    server: RunningServer
    settings: Settings
    stub: external_auth_pb2_grpc.AuthorizationStub
    address: str

    def token(self, agent: str = AGENT, *roles: Role) -> str:
        return issuer(self.settings).mint(agent, roles or (Role.AGENT,))

    async def check(
        self,
        path: str,
        *,
        method: str = "GET",
        host: str = "crm.corp.example",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        agent: str = AGENT,
        certificate: str = "",
    ) -> external_auth_pb2.CheckResponse:
        given = {"authorization": f"Bearer {self.token(agent)}", ":method": method, ":path": path, ":authority": host}
        if body:
            given |= {"content-type": "application/json", "content-length": str(len(body))}
        request = external_auth_pb2.CheckRequest(
            attributes=AttributeContext(
                source=AttributeContext.Peer(certificate=certificate),
                request=AttributeContext.Request(
                    http=AttributeContext.HttpRequest(
                        method=method,
                        path=path,
                        host=host,
                        scheme="https",
                        headers={**given, **(headers or {})},
                        raw_body=body,
                        size=len(body) if body else -1,
                    )
                ),
            )
        )
        return await self.ask(request)

    async def ask(self, request: external_auth_pb2.CheckRequest, *roles: Role) -> external_auth_pb2.CheckResponse:
        token = self.token(GATEWAY, *(roles or (Role.GATEWAY,)))
        return await self.stub.Check(request, metadata=bearer(token), timeout=60)

    def client(self, subject: str, *roles: Role) -> AsyncClient:
        client = AsyncClient.connect(self.address, self.token(subject, *roles))
        client.timeout_seconds = 60.0
        return client


@asynccontextmanager
async def gateway(root: Path) -> AsyncIterator[Gateway]:
    settings = settings_in(root)
    commit_files(root / "policy", {"data/routes.yaml": ROUTES}, message="Add routes", at_seconds=1_790_000_100)
    async with serving(settings) as (plane, server):
        address = f"unix:{server.socket}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield Gateway(plane, server, settings, external_auth_pb2_grpc.AuthorizationStub(channel), address)


def headers(options: Any) -> dict[str, str]:
    return {option.header.key: option.header.value for option in options}


def code(answer: external_auth_pb2.CheckResponse) -> int:
    assert answer.status.code == 7
    assert answer.WhichOneof("http_response") == "denied_response"
    return int(answer.denied_response.status.code)


def said(answer: external_auth_pb2.CheckResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.denied_response.body)
    return found


async def events(asked: Gateway, trace: str) -> list[event_pb2.Event]:
    async with asked.client("ann", Role.AUDITOR) as auditor:
        return list((await auditor.trace(trace)).events)


@pytest.mark.asyncio
async def test_what_policy_allows_passes_with_a_grant_that_the_tools_server_can_verify(tmp_path: Path) -> None:
    async with gateway(tmp_path) as asked:
        answer = await asked.check(
            "/customers?query=Lindt%20%26%20Co", headers={"traceparent": f"00-{TRACE}-{'1' * 16}-01"}
        )
        assert answer.status.code == 0
        sent = headers(answer.ok_response.headers)
        verifier = GrantVerifier(GrantKeys(asked.plane.grants.key_set()), server="crm")
        claims = verifier.verify(
            sent["aisecops-grant"], tool="crm/find_customer", arguments={"query": "Lindt & Co"}, agent_id=AGENT
        )
        assert claims.decision_id == sent["aisecops-decision"]
        # What proved the agent to us is not for the server behind the gateway.
        assert list(answer.ok_response.headers_to_remove) == ["authorization", "aisecops-approval"]
        assert headers(answer.ok_response.response_headers_to_add) == {
            "aisecops-decision": sent["aisecops-decision"],
            "aisecops-grant-id": sent["aisecops-grant-id"],
        }
        [stored] = await asked.plane.log.grants.grants_of(sent["aisecops-decision"])
        assert stored.state.value == "redeemed"
        types = [event.type for event in await events(asked, TRACE)]
        assert types.index("decision.concluded") < types.index("grant.redeemed")


@pytest.mark.asyncio
async def test_it_is_the_decision_that_the_same_plan_gets_over_the_api(tmp_path: Path) -> None:
    async with gateway(tmp_path) as asked:
        by_http = said(await asked.check("/customers/C-9/orders", agent=OPERATOR))
        builder = PlanBuilder(intent="the same", environment="production")
        builder.step("crm/list_orders", {"customer_id": "C-9"})
        async with asked.client(OPERATOR) as client:
            by_api = await client.decide(builder)
        assert by_http["outcome"] == "DENY"
        assert [found["rule"] for found in by_http["findings"]] == [found.rule for found in by_api.decision.findings]
        assert by_http["message"] == by_api.decision.explanation


@pytest.mark.asyncio
async def test_a_call_that_people_approve_passes_when_it_is_made_again_and_once(tmp_path: Path) -> None:
    release = {
        "path": "/services/checkout/releases",
        "method": "POST",
        "host": "deploy.corp.example",
        "agent": OPERATOR,
    }
    body = json.dumps({"version": "2.14.1", "environment": "production"}).encode()
    async with gateway(tmp_path) as asked:
        waits = await asked.check(**release, body=body)
        assert (code(waits), said(waits)["reason"]) == (403, "APPROVAL_REQUIRED")
        approval_id = headers(waits.denied_response.headers)["aisecops-approval"]
        assert said(waits)["approval_id"] == approval_id
        early = await asked.check(**release, body=body, headers={"aisecops-approval": approval_id})
        assert (code(early), said(early)["reason"]) == (403, "APPROVAL_NOT_USABLE")
        async with asked.client("gita.rao@corp.example", Role.SECOPS) as person:
            shown = await person.approvals.show(approval_id)
            await person.approvals.vote(shown, approval_pb2.CHOICE_APPROVE)
        other = body.replace(b"2.14.1", b"2.14.2")
        swapped = await asked.check(**release, body=other, headers={"aisecops-approval": approval_id})
        assert (code(swapped), said(swapped)["reason"]) == (403, "APPROVAL_NOT_USABLE")
        passed = await asked.check(**release, body=body, headers={"aisecops-approval": approval_id})
        assert passed.status.code == 0
        again = await asked.check(**release, body=body, headers={"aisecops-approval": approval_id})
        assert (code(again), said(again)["reason"]) == (403, "APPROVAL_NOT_USABLE")


@pytest.mark.asyncio
async def test_nothing_that_is_not_proved_says_who_the_agent_is(tmp_path: Path) -> None:
    async with gateway(tmp_path) as asked:
        plain = {"x-agent-id": AGENT, "x-forwarded-client-cert": f"URI={AGENT}", "x-user": AGENT}
        for given in (
            {**plain, "authorization": ""},
            {**plain, "authorization": "Basic YTpi"},
            {**plain, "authorization": f"Bearer {asked.token()},Bearer {asked.token(OPERATOR)}"},
            {**plain, "aisecops-authorization": "Bearer nonsense"},
        ):
            answer = await asked.check("/customers?query=x", headers=given)
            assert (code(answer), said(answer)["reason"]) == (401, "UNAUTHENTICATED")
        person = {"authorization": f"Bearer {asked.token('ada', Role.SECURITY)}"}
        assert said(await asked.check("/customers?query=x", headers=person))["reason"] == "NOT_PERMITTED"
        forged = quote("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        answer = await asked.check("/customers?query=x", certificate=forged)
        assert (code(answer), said(answer)["reason"]) == (401, "UNAUTHENTICATED")


@pytest.mark.asyncio
async def test_only_a_gateway_may_ask(tmp_path: Path) -> None:
    async with gateway(tmp_path) as asked:
        for role in set(Role) - {Role.GATEWAY}:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await asked.ask(external_auth_pb2.CheckRequest(), role)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await asked.stub.Check(external_auth_pb2.CheckRequest(), timeout=60)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.asyncio
async def test_what_cannot_be_read_with_certainty_is_denied_and_on_record(tmp_path: Path) -> None:
    async with gateway(tmp_path) as asked:
        trace = {"traceparent": f"00-{TRACE}-{'1' * 16}-01"}
        bad = [
            ("/customers/../admin", {}, 400),
            ("/customers/%2e%2e", {}, 400),
            ("/customers/a%2fb/orders", {}, 400),
            ("/customers?query=a&query=b", {}, 400),
            ("/customers?query=x", {"x-http-method-override": "DELETE"}, 400),
            ("/customers?query=x", {"host": "other.example"}, 400),
            ("/customers?query=x", {":path": "/admin"}, 400),
            ("/customers?query=x", {"content-length": "12"}, 400),
            ("/admin", {}, 403),
        ]
        for path, given, expected in bad:
            answer = await asked.check(path, headers={**trace, **given})
            assert code(answer) == expected, path
        refused = [event for event in await events(asked, TRACE) if event.type == "plan.rejected"]
        assert len(refused) == len(bad)
        assert {json.loads(event.body_json)["details"]["principal"] for event in refused} == {AGENT}


@pytest.mark.asyncio
async def test_obligations_that_no_gateway_can_meet_are_no_allow(tmp_path: Path) -> None:
    async with gateway(tmp_path) as asked:
        answer = await asked.check("/customers/C-9")
        assert (code(answer), said(answer)["reason"]) == (403, "GRANT_NOT_USABLE")
        assert "redact" in said(answer)["message"]


@pytest.mark.asyncio
async def test_a_fault_is_a_denial_and_no_status_of_the_call(tmp_path: Path) -> None:
    async with gateway(tmp_path) as asked:
        await asked.plane.log.close()
        answer = await asked.check("/customers?query=x")
        assert code(answer) == 503
        assert not headers(answer.ok_response.headers)


@pytest.mark.asyncio
async def test_bytes_that_are_no_request_are_a_denial(tmp_path: Path) -> None:
    async with gateway(tmp_path) as asked, grpc.aio.insecure_channel(asked.address) as channel:
        raw = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")
        for data in (b"\xff", b"\x0a\x05hello", b""):
            token = asked.token(GATEWAY, Role.GATEWAY)
            answer = external_auth_pb2.CheckResponse.FromString(await raw(data, metadata=bearer(token), timeout=60))
            assert code(answer) in (400, 401)


@pytest.mark.asyncio
async def test_gateway_and_agent_are_who_their_certificates_name() -> None:
    route = {"method": "GET", "host": "bank", "path": "/", "tool": "bank/delete", "environment": "production"}
    async with tls_api() as api, api.channel(api.credentials("person/gateway")) as channel:
        api.engine.bundle = replace(
            api.engine.bundle, tables={"routes": Routes.model_validate({"r": route}).compiled()}
        )
        stub = external_auth_pb2_grpc.AuthorizationStub(channel)

        async def ask(certificate: bytes) -> external_auth_pb2.CheckResponse:
            http = AttributeContext.HttpRequest(method="GET", path="/", host="bank", size=-1)
            peer = AttributeContext.Peer(principal="spiffe://corp.example/agent/other", certificate=quote(certificate))
            context = AttributeContext(source=peer, request=AttributeContext.Request(http=http))
            return await stub.Check(external_auth_pb2.CheckRequest(attributes=context), timeout=60)

        denied = await ask((api.folder / "agent/support.pem").read_bytes())
        assert (code(denied), said(denied)["reason"]) == (403, "DENIED")
        [stored] = api.log.decisions.values()
        assert stored.details["principal"]["id"] == TLS_AGENT
        assert stored.details["principal"]["authenticated_by"] == "certificate"
        assert said(await ask((api.folder / "person/ada.pem").read_bytes()))["reason"] == "NOT_PERMITTED"
        assert said(await ask(b""))["reason"] == "UNAUTHENTICATED"
    async with tls_api() as api, api.channel(api.credentials("agent/support")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await external_auth_pb2_grpc.AuthorizationStub(channel).Check(external_auth_pb2.CheckRequest(), timeout=60)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
