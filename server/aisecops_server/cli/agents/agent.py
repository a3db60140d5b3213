"""``aisecops agent``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.agents.agent_commands"

agent = group(
    "agent",
    help="See which agents are registered, and which asked without being it.",
    entries={
        "list": Entry(f"{_HERE}:list_agents", "List agents and what they asked."),
        "show": Entry(f"{_HERE}:show_agent", "Show one agent."),
    },
    examples="""
    aisecops agent list
    aisecops agent list --unregistered
    aisecops agent show spiffe://corp.example/agent/support-assistant
    """,
)
