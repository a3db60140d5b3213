"""On whose behalf an agent acts, over a real control plane: what the log shows counts, and what is said does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aisecops_client import Answer, AsyncClient, PlanBuilder, RequestRefusedError
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.bootstrap.serving import serving
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import settings_in

AGENTS = "spiffe://corp.example/agent"
PLANNER, OPERATOR, SUPPORT = f"{AGENTS}/planner", f"{AGENTS}/operations-assistant", f"{AGENTS}/support-assistant"
UNVERIFIED = "identity.delegation_unverified"
Link = tuple[str, str]


@dataclass
class Fleet:
    """Agents of the policy that ships, each with a credential of its own."""

    settings: Settings
    address: str

    @asynccontextmanager
    async def client(self, agent: str, *roles: Role) -> AsyncIterator[AsyncClient]:
        token = issuer(self.settings).mint(agent, roles or (Role.AGENT,))
        async with AsyncClient.connect(self.address, token) as client:
            client.timeout_seconds = 60.0
            yield client

    async def asks(self, agent: str, *above: Link, tool: str = "kubernetes/list_pods", **fields: str) -> Answer:
        async with self.client(agent) as client:
            return await client.decide(plan(*above, tool=tool, **fields))


def plan(*above: Link, tool: str = "kubernetes/list_pods", **fields: str) -> PlanBuilder:
    builder = PlanBuilder(intent="look", environment="production", **fields)
    prompt = builder.source("user_prompt", "Restart deployment checkout in namespace shop", id="prompt")
    arguments = {"namespace": "shop"} | ({"deployment": "checkout"} if tool == "kubernetes/restart" else {})
    builder.step(tool, arguments, influenced_by=[prompt])
    for agent, trace in above:
        builder.delegated_by(agent, trace_id=trace)
    return builder


@asynccontextmanager
async def fleet(root: Path) -> AsyncIterator[Fleet]:
    settings = settings_in(root)
    agents = root / "policy/data/agents.yaml"
    async with serving(settings) as (_plane, server):
        assert agents.exists()
        yield Fleet(settings, f"unix:{server.socket}")


def trace_of(answer: Answer) -> str:
    return str(answer.decision.trace_id)


@pytest.mark.asyncio
async def test_what_an_agent_hands_down_is_linked_verified_and_bounded_by_both(tmp_path: Path) -> None:
    async with fleet(tmp_path) as agents:
        first = await agents.asks(PLANNER)
        assert first.allowed, first.rules
        second = await agents.asks(OPERATOR, (PLANNER, trace_of(first)), tool="kubernetes/restart")
        assert second.allowed, second.rules
        async with agents.client("auditor", Role.AUDITOR) as auditor:
            explained = await auditor.explain(second.decision.decision_id)
        document = json.loads(explained.document_json)
        assert document["delegation"] == [{"agent_id": PLANNER, "trace_id": trace_of(first), "verified": True}]
        assert document["trace"]["parent_id"] == trace_of(first)
        # What the one above may not do itself it cannot have done for it.
        third = await agents.asks(OPERATOR, (PLANNER, trace_of(first)), tool="deploy/release")
        assert third.outcome == "DENY"
        assert "capability.delegation_exceeds" in third.rules


@pytest.mark.asyncio
async def test_a_chain_that_the_log_does_not_show_is_denied_whatever_is_wrong_with_it(tmp_path: Path) -> None:
    async with fleet(tmp_path) as agents:
        own = trace_of(await agents.asks(PLANNER))
        denied = trace_of(await agents.asks(PLANNER, tool="email/send"))
        others = trace_of(await agents.asks(OPERATOR))
        async with agents.client(PLANNER) as planner:
            tried = trace_of(await planner.dry_run(plan()))
        for why, trace in {
            "no trace": "",
            "a trace that does not exist": "f" * 32,
            "a trace of somebody else": others,
            "a trace in which it was denied": denied,
            "a trace in which it only tried": tried,
        }.items():
            answer = await agents.asks(OPERATOR, (PLANNER, trace))
            assert (answer.outcome, UNVERIFIED in answer.rules) == ("DENY", True), why
        assert (await agents.asks(OPERATOR, (PLANNER, own))).allowed


@pytest.mark.asyncio
async def test_an_agent_cannot_leave_out_who_stands_above_it(tmp_path: Path) -> None:
    async with fleet(tmp_path) as agents:
        top = (PLANNER, trace_of(await agents.asks(PLANNER)))
        middle = (OPERATOR, trace_of(await agents.asks(OPERATOR, top)))
        # The operator was called by the planner, so nobody is called by the operator alone, or by another above it.
        for chain in ((middle,), ((SUPPORT, top[1]), middle), (top, top, middle), (middle, top)):
            answer = await agents.asks(PLANNER, *chain)
            assert UNVERIFIED in answer.rules, chain
        whole = await agents.asks(PLANNER, top, middle)
        assert UNVERIFIED not in whole.rules


@pytest.mark.asyncio
async def test_a_parent_trace_that_is_not_that_of_the_agent_above_is_refused(tmp_path: Path) -> None:
    async with fleet(tmp_path) as agents:
        top = (PLANNER, trace_of(await agents.asks(PLANNER)))
        with pytest.raises(RequestRefusedError, match="parent_trace_id"):
            await agents.asks(OPERATOR, top, parent_trace_id="e" * 32)
        assert (await agents.asks(OPERATOR, top, parent_trace_id=top[1])).allowed
