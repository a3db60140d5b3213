"""``aisecops incident``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.agents.incident_commands"

incident = group(
    "incident",
    help="See calls that ran, or were to run, otherwise than it was decided.",
    entries={
        "list": Entry(f"{_HERE}:list_incidents", "List runtime incidents, newest first."),
        "tail": Entry(f"{_HERE}:tail_incidents", "Follow incidents as they happen."),
    },
    examples="""
    aisecops incident list --severity critical
    aisecops incident tail
    """,
)
