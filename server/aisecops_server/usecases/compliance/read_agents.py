"""Which agents there are: those that policy registers, and those that asked without being registered.

Answers come from the live revision's tables and from the log; nothing is kept for it that could say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aisecops_server.domain.agents.agent import Agent, Registration, entries, entry_of
from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.errors import NotFoundError
from aisecops_server.domain.tools.usable_tools import UsableTools, usable_tools
from aisecops_server.ports import Clock
from aisecops_server.ports.agents import AgentActivity


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """Narrows a list of agents; an empty field does not narrow."""

    registration: Registration | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class AgentPage:
    """Agents in the order of their ids; ``next_after`` is empty on the last page. The figures are those of all."""

    agents: tuple[Agent, ...]
    next_after: str
    registered: int
    unregistered: int
    revision: str


@dataclass(frozen=True, slots=True)
class ReadAgents:
    """Reads agents. ``live`` gives the bundle of the live revision."""

    live: Callable[[], Bundle]
    activity: AgentActivity
    clock: Clock

    async def page(self, narrow: AgentFilter, *, after: str, limit: int) -> AgentPage:
        """Return the agents behind ``after``.

        Raises:
            NoLiveRevisionError: nothing is live, so nobody is registered.
        """
        bundle = self.live()
        known = entries(bundle.tables)
        found = await self._found(bundle, narrow, after, limit + 1)
        return AgentPage(
            agents=tuple(found[:limit]),
            next_after=found[limit - 1].id if len(found) > limit else "",
            registered=len(known),
            unregistered=await self.activity.count_others(known.keys()),
            revision=bundle.revision,
        )

    async def agent(self, agent_id: str) -> Agent:
        """Return one agent.

        Raises:
            NotFoundError: policy does not register it, and it never asked.
            NoLiveRevisionError: nothing is live.
        """
        [agent] = await self._agents(self.live(), [agent_id])
        if agent.entry is None and agent.activity is None:
            raise NotFoundError(
                f"there is no agent {agent_id}", hint="'aisecops agent list' shows those that there are", id=agent_id
            )
        return agent

    def tools(self, agent_id: str, environment: str) -> tuple[UsableTools, str]:
        """Return which tools an agent may ask for in an environment now, and the revision that says so.

        Raises:
            NoLiveRevisionError: nothing is live.
        """
        bundle = self.live()
        now_seconds = self.clock.now_ns() // 1_000_000_000
        return usable_tools(bundle.tables, agent_id, environment, now_seconds=now_seconds), bundle.revision

    async def _found(self, bundle: Bundle, narrow: AgentFilter, after: str, limit: int) -> list[Agent]:
        known = entries(bundle.tables)
        registered = sorted(
            agent_id for agent_id, entry in known.items() if agent_id > after and narrow.owner in ("", entry["owner"])
        )[:limit]
        if narrow.owner or narrow.registration is Registration.REGISTERED:
            unregistered: list[str] = []
        else:
            unregistered = await self._unregistered(bundle, after, limit)
        if narrow.registration is Registration.UNREGISTERED:
            registered = []
        return await self._agents(bundle, sorted([*registered, *unregistered])[:limit])

    async def _unregistered(self, bundle: Bundle, after: str, limit: int) -> list[str]:
        known = entries(bundle.tables)
        found: list[str] = []
        while len(found) < limit:
            part = await self.activity.after(after, limit=limit)
            found += [activity.agent_id for activity in part if activity.agent_id not in known]
            if len(part) < limit:
                break
            after = part[-1].agent_id
        return found[:limit]

    async def _agents(self, bundle: Bundle, agent_ids: Sequence[str]) -> list[Agent]:
        activity = await self.activity.of(agent_ids)
        return [Agent(agent_id, entry_of(bundle.tables, agent_id), activity.get(agent_id)) for agent_id in agent_ids]
