"""``aisecops ui``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.running.ui_commands"

ui = group(
    "ui",
    help="Open the UI of the control plane that serves from this state directory.",
    entries={"link": Entry(f"{_HERE}:link", "Make a link that signs you in once.")},
    examples="""
    aisecops ui link
    aisecops ui link --person auditor@corp.example --role auditor
    aisecops ui link --to /traces?q=outcome:blocked
    """,
)
