"""The tools that are listed to an agent are exactly those that policy does not deny it whatever the call."""

from __future__ import annotations

from pathlib import Path

import pytest
from aisecops.v1 import decision_pb2
from aisecops_client import AccessRefusedError, Answer, AsyncClient, PlanBuilder
from aisecops_server.adapters.git.create import commit_files
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.real import AGENT, running, settings_in

pytestmark = pytest.mark.asyncio
# The rules that deny every call of a tool.
WHATEVER_THE_CALL = {
    "capability.capability_not_granted",
    "capability.grant_inapplicable",
    "capability.tool_undeclared",
    "identity.agent_unregistered",
    "identity.environment_mismatched",
    "mcp.server_not_allowed",
    "mcp.tool_not_allowed",
}
STRANGER = "spiffe://corp.example/agent/stranger"
UNKNOWN = ["tickets/burn", "nowhere/read"]
CODER = "spiffe://corp.example/agent/coding-assistant"
OBSERVED = "spiffe://corp.example/agent/planner"


MODES = f"default: enforce\nagents: {{{OBSERVED}: observe}}\nrules: {{mcp: enforce}}\n"
AGENTS = (AGENT, CODER, OBSERVED, STRANGER)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = settings_in(tmp_path_factory.mktemp("usable"))
    commit_files(
        Path(made.repository), {"data/modes.yaml": MODES.encode()}, message="Observe", at_seconds=1_790_000_001
    )
    return made


async def by_policy(client: AsyncClient, tools: list[str], environment: str) -> set[str]:
    """Return which tools the engine does not deny by any of those rules."""
    plans = []
    for tool in tools:
        plan = PlanBuilder(environment=environment)
        plan.step(tool, {})
        plans.append(plan)
    found = set()
    for tool, answer in zip(tools, await client.decide_batch(plans, dry_run=True), strict=True):
        assert isinstance(answer, Answer)
        denied = {one.rule for one in answer.decision.findings if one.effect == decision_pb2.EFFECT_DENY}
        if not denied & WHATEVER_THE_CALL:
            found.add(tool)
    return found


@pytest.mark.parametrize("environment", ["production", "development", "moon"])
async def test_what_is_listed_is_what_policy_does_not_deny_whatever_the_call(
    settings: Settings, environment: str
) -> None:
    async with running(settings) as (plane, client):
        tools = [*plane.live.current().bundle.tables["tools"], *UNKNOWN]
        for agent in AGENTS:
            client.token = issuer(settings).mint(agent, (Role.AGENT,))
            told = await client.tools(environment=environment)
            listed = {tool.tool for tool in told.tools} | (set(UNKNOWN) if told.unlisted else set())
            assert listed == await by_policy(client, tools, environment), agent
            assert told.revision == plane.live.current().bundle.revision


async def test_only_an_agent_is_told_and_only_of_its_own_tools(settings: Settings) -> None:
    async with running(settings) as (_plane, client):
        tickets = await client.tools(environment="production", server="tickets")
        assert [tool.tool for tool in tickets.tools] == [
            "tickets/close",
            "tickets/comment",
            "tickets/read",
            "tickets/search",
        ]
        assert (tickets.tools[2].effect, tickets.tools[2].result_trust) == ("read", "external")
        client.token = issuer(settings).mint("auditor@corp.example", (Role.AUDITOR,))
        with pytest.raises(AccessRefusedError):
            await client.tools(environment="production")
