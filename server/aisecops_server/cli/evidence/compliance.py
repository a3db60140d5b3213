"""``aisecops compliance``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.evidence.compliance_commands"

compliance = group(
    "compliance",
    help="See which requirements of which frameworks hold, by scenarios that are decided now.",
    entries={
        "list": Entry(f"{_HERE}:list_frameworks", "List the frameworks that policy maps."),
        "show": Entry(f"{_HERE}:show_framework", "Show one framework's requirements, as they are mapped."),
        "check": Entry(f"{_HERE}:check", "Decide the scenarios, run the checks, and say what holds."),
    },
    examples="""
    aisecops compliance list
    aisecops compliance check --framework owasp-llm-2025
    aisecops compliance check --write compliance.html
    """,
)
