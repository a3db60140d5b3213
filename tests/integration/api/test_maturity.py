"""How far adoption is, over a real control plane: a commit and a few decisions move an agent from phase to phase."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import git
import pytest
from aisecops.v1 import agent_service_pb2, maturity_pb2
from aisecops_client import AccessRefusedError, AsyncGuard, Client, NotFoundError, RequestRefusedError
from aisecops_client.agents import Agents
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.plans import plan
from tests.integration.api.real import AGENT, running, settings_in
from tests.integration.api.test_approvals import ADA, DENY, answered, people, refund
from tests.integration.api.test_policy_by_commit import change

pytestmark = pytest.mark.asyncio

T = TypeVar("T")
STRANGER = "spiffe://corp.example/agent/shadow"
Phase = maturity_pb2.MaturityPhase


async def asked_by(settings: Settings, role: Role, question: Callable[[Agents], T], name: str = "") -> T:
    def ask() -> T:
        token = issuer(settings).mint(name or f"{role.value}@corp.example", [role])
        with Client.connect(f"unix:{settings.socket}", token) as client:
            return question(Agents(client))

    return await asyncio.to_thread(ask)


async def report(settings: Settings, agent: str = "") -> agent_service_pb2.GetMaturityResponse:
    return await asked_by(settings, Role.AUDITOR, lambda agents: agents.maturity(agent))


def criterion(of: maturity_pb2.Maturity, name: str) -> maturity_pb2.MaturityCriterion:
    [found] = [one for one in of.criteria if one.name == name]
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


async def test_an_agent_that_nobody_registered_is_ungoverned_and_shown_with_its_trace(settings: Settings) -> None:
    async with running(settings, agent=STRANGER) as (plane, shadow):
        denied = (await shadow.decide(plan("tickets/read"))).decision
        found = await report(settings)
        [stranger] = [one for one in found.agents if one.agent_id == STRANGER]
        assert (stranger.phase, found.overall.phase) == (Phase.MATURITY_PHASE_UNGOVERNED,) * 2
        known = criterion(found.overall, "registered_percent")
        assert (known.value, known.threshold, known.met, known.note) == (0, 100, False, "1 of 1 are not registered")
        assert [(one.kind, one.name) for one in known.evidence] == [("agent", STRANGER), ("trace", denied.trace_id)]
        async for stored in plane.log.events(from_index=known.evidence[1].log_index, follow=False, trace_id=""):
            assert (stored.event.type, stored.event.decision_id) == ("decision.concluded", denied.decision_id)
            break
        assert "data/agents.yaml" in known.remedy
        never_asked = [one for one in found.agents if one.agent_id == AGENT]
        assert never_asked[0].phase == Phase.MATURITY_PHASE_UNGOVERNED


async def test_modes_and_calls_move_an_agent_from_observed_to_controlled(settings: Settings) -> None:
    async with running(settings) as (plane, agent), people(settings, plane, ADA) as [ada]:
        await change(plane, "modes", lambda held: held.update(agents={AGENT: "observe"}, rules={"budget": "observe"}))
        await agent.decide(plan("tickets/read"))
        [observed] = (await report(settings, AGENT)).agents
        assert observed.phase == Phase.MATURITY_PHASE_OBSERVED
        share = criterion(observed, "enforced_percent")
        assert (share.value, share.evidence[0].kind) == (0, "policy")
        assert share.evidence[0].name.startswith("data/modes.yaml:")
        rules = criterion(observed, "observed_rules")
        assert (rules.value, rules.at_most, rules.met, rules.note) == (1, True, False, "budget")
        await change(plane, "modes", lambda held: held.update(agents={}, rules={}))
        await change(plane, "maturity", lambda held: held["enforced"].update(enforced_percent=50))
        answer = await agent.decide(refund())
        [enforced] = (await report(settings, AGENT)).agents
        assert (enforced.phase, criterion(enforced, "answered_percent").applies) == (
            Phase.MATURITY_PHASE_ENFORCED,
            False,
        )
        await answered(ada, answer.approval_id, DENY)
        await change(plane, "budgets", lambda held: held["profiles"]["service"].update(limits={"day": {"calls": 1000}}))
        guard = AsyncGuard(agent, environment="production")

        @guard.tool("tickets/read")
        async def read(ticket_id: str) -> str:
            return ticket_id

        with guard.task("Read a ticket") as task:
            task.source("user_prompt", "Read ticket T-1")
            await read(ticket_id="T-1")
        [found] = (await report(settings, AGENT)).agents
        figures = {one.name: (one.value, one.met) for one in found.criteria}
        assert figures["answered_percent"] == (100, True)
        assert figures["limited_percent"] == (100, True)
        assert figures["reported_percent"] == (100, True)
        assert figures["enforcement_points"] == (1, False)
        assert figures["incidents"] == (0, True)
        # What no replay has tried is not controlled.
        assert (found.phase, criterion(found, "replay_days").HasField("value")) == (
            Phase.MATURITY_PHASE_ENFORCED,
            False,
        )


async def test_readers_ask_and_nobody_else(settings: Settings) -> None:
    async with running(settings):
        for role in (Role.AUDITOR, Role.SECOPS, Role.SECURITY, Role.PLATFORM):
            assert (await asked_by(settings, role, lambda agents: agents.maturity())).revision
        for role, name in ((Role.AGENT, AGENT), (Role.APP, ""), (Role.TOOL, "")):
            with pytest.raises(AccessRefusedError):
                await asked_by(settings, role, lambda agents: agents.maturity(), name)
        with pytest.raises(NotFoundError):
            await report(settings, STRANGER)
        with pytest.raises(RequestRefusedError):
            await report(settings, "not an agent id")


async def test_a_policy_that_does_not_say_what_a_phase_takes_is_told_so(settings: Settings) -> None:
    async with running(settings) as (plane, _agent):
        with git.Repo(plane.settings.repository) as repository:
            repository.index.remove(["data/maturity.yaml"], working_tree=True)
            repository.index.commit("Ask for nothing", skip_hooks=True)
        await plane.policy.sync()
        with pytest.raises(RequestRefusedError, match="does not say what a phase takes"):
            await report(settings)
