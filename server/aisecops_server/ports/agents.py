"""The seam of what agents did: counted with every decision, in the transaction that stores it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from aisecops_server.domain.agents.agent import Activity


class AgentActivity(Protocol):
    """Reads what agents asked. Only callers with the role of an agent are counted."""

    async def of(self, agent_ids: Collection[str]) -> Mapping[str, Activity]:
        """Return what is known of each agent that ever asked, by its id."""
        ...

    async def after(self, agent_id: str, *, limit: int) -> list[Activity]:
        """Return what is known of agents in the order of their ids, starting behind ``agent_id``."""
        ...

    async def count_others(self, agent_ids: Collection[str]) -> int:
        """Return how many agents ever asked that are none of these."""
        ...
