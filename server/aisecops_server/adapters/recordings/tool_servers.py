"""Which server a tool belongs to that telemetry names without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aisecops_server.adapters.recordings.attributes import MalformedError


@dataclass(frozen=True, slots=True)
class ToolServers:
    """Which server a bare tool name belongs to: by the agent's name or id, else one for all.

    Telemetry often names tools without their server. It is never guessed: the span says it, or the operator does.
    """

    by_agent: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = ""

    def qualified(self, tool: str, server: str, agents: Sequence[str]) -> str:
        """Return ``server/tool``.

        Raises:
            MalformedError: nobody says which server it is.
        """
        if "/" in tool:
            return tool
        named = server or next((self.by_agent[agent] for agent in agents if agent in self.by_agent), self.otherwise)
        if not tool or not named:
            agent = agents[-1] if agents else ""
            raise MalformedError(f"the tool '{tool}' of agent '{agent}' names no server; say it with --tool-server")
        return f"{named}/{tool}"
