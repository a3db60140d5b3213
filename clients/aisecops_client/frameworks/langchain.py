"""LangChain: a middleware for ``create_agent``. A call that waits for people interrupts the agent's graph.

    bridge = Bridge(client, environment="production", tools={"send_email": "email/send"})
    agent = create_agent(model, tools, middleware=governed([HumanInTheLoopMiddleware(...)], bridge))

It has to be the last middleware: what stands behind it could still change the call that was decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware

from aisecops_client.frameworks._bridge import Bridge
from aisecops_client.frameworks.langgraph import ToolWraps


class Governance(ToolWraps, AgentMiddleware):
    """Runs each tool of an agent as granted. When the agent has ended, what came of every call is told."""

    def __init__(self, bridge: Bridge) -> None:
        AgentMiddleware.__init__(self)
        ToolWraps.__init__(self, bridge)


def governed(middleware: Sequence[AgentMiddleware], bridge: Bridge) -> list[Any]:
    """Return a list of middleware with governance where it has to be.

    Raises:
        ValueError: there is governance in it already.
    """
    if any(isinstance(item, Governance) for item in middleware):
        raise ValueError("there is governance already; give `governed` the other middleware only")
    return [*middleware, Governance(bridge)]
