"""Which agents there are, over a real control plane: as policy registers them, and as they asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from aisecops.v1 import agent_pb2
from aisecops_client import AisecopsClientError, Client, NotFoundError, RequestRefusedError
from aisecops_client.agents import Agents
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.integration.api.plans import plan
from tests.integration.api.real import AGENT, running, settings_in

T = TypeVar("T")
STRANGER = "spiffe://corp.example/agent/shadow"


async def as_auditor(settings: Settings, question: Callable[[Agents], T]) -> T:
    def ask() -> T:
        token = issuer(settings).mint("auditor@corp.example", [Role.AUDITOR])
        with Client.connect(f"unix:{settings.socket}", token) as client:
            return question(Agents(client))

    return await asyncio.to_thread(ask)


async def asks(settings: Settings, agent: str, times: int) -> None:
    def ask() -> None:
        with Client.connect(f"unix:{settings.socket}", issuer(settings).mint(agent, [Role.AGENT])) as client:
            client.timeout_seconds = 60.0
            for _ in range(times):
                client.decide(plan("tickets/read"))
            client.dry_run(plan("tickets/read"))

    await asyncio.to_thread(ask)


@pytest.mark.asyncio
async def test_registered_agents_are_shown_with_who_answers_for_them_and_what_they_asked(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings):
        before = await as_auditor(settings, lambda agents: agents.agent(AGENT))
        assert not before.HasField("activity")
        await asks(settings, AGENT, 2)
        agent = await as_auditor(settings, lambda agents: agents.agent(AGENT))
        assert agent.registered
        assert (agent.owner, agent.contact) == ("customer-support", "support-platform@corp.example")
        assert (agent.framework, agent.budget) == ("langgraph", "service")
        assert list(agent.environments) == ["production", "staging"]
        assert "tickets.handle" in {held.capability for held in agent.capabilities}
        assert (agent.activity.allowed + agent.activity.denied, agent.activity.tried) == (2, 1)
        assert agent.activity.first_seen_at.seconds <= agent.activity.last_seen_at.seconds


@pytest.mark.asyncio
async def test_who_asks_without_being_registered_is_denied_counted_and_listed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings):
        await asks(settings, STRANGER, 3)
        page = await as_auditor(settings, lambda agents: agents.page(registration="unregistered"))
        assert (page.unregistered, [agent.agent_id for agent in page.agents]) == (1, [STRANGER])
        [agent] = page.agents
        assert (agent.registered, agent.owner) == (False, "")
        assert (agent.activity.allowed, agent.activity.denied, agent.activity.tried) == (0, 3, 1)
        assert page.revision
        everybody = await as_auditor(settings, lambda agents: agents.page(page_size=500))
        assert page.registered == len(everybody.agents) - 1
        assert (await as_auditor(settings, lambda agents: agents.agent(STRANGER))).activity == agent.activity


def paged(agents: Agents, **narrow: str) -> list[agent_pb2.Agent]:
    found: list[agent_pb2.Agent] = []
    token = ""
    while True:
        page = agents.page(page_size=2, page_token=token, **narrow)
        assert len(page.agents) <= 2
        found += page.agents
        if not (token := page.next_page_token):
            return found


@pytest.mark.asyncio
async def test_pages_hold_everybody_once_and_in_order(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings):
        for stranger in ("a-stranger", STRANGER, "spiffe://corp.example/agent/zebra"):
            await asks(settings, stranger, 1)
        found = await as_auditor(settings, paged)
        ids = [agent.agent_id for agent in found]
        assert ids == sorted(set(ids))
        assert {"a-stranger", STRANGER, AGENT} <= set(ids)
        strangers = await as_auditor(settings, lambda agents: paged(agents, registration="unregistered"))
        assert [agent.agent_id for agent in strangers] == [agent.agent_id for agent in found if not agent.registered]
        known = await as_auditor(settings, lambda agents: paged(agents, registration="registered"))
        assert [agent.agent_id for agent in known] == [agent.agent_id for agent in found if agent.registered]
        theirs = await as_auditor(settings, lambda agents: paged(agents, owner="customer-support"))
        assert theirs
        assert {agent.owner for agent in theirs} == {"customer-support"}


@pytest.mark.asyncio
async def test_an_agent_that_nobody_knows_is_not_found_and_odd_questions_are_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings):
        with pytest.raises(NotFoundError):
            await as_auditor(settings, lambda agents: agents.agent("nobody"))
        odd: list[Callable[[Agents], object]] = [
            lambda agents: agents.agent(""),
            lambda agents: agents.agent("a b"),
            lambda agents: agents.page(registration="maybe"),
            lambda agents: agents.page(page_token="a b"),
            lambda agents: agents.page(owner="x" * 300),
            lambda agents: agents.page(page_size=-1),
        ]
        for question in odd:
            with pytest.raises((RequestRefusedError, AisecopsClientError)) as refused:
                await as_auditor(settings, question)
            assert isinstance(refused.value, RequestRefusedError)
