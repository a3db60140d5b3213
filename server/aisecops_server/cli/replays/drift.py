"""``aisecops drift``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.replays.drift_commands"

drift = group(
    "drift",
    help="See whether recent decisions still come out, and what other policy makes of them.",
    entries={
        "show": Entry(f"{_HERE}:show_drift", "Show what was found last."),
        "check": Entry(f"{_HERE}:check", "Look now, and record what is found."),
    },
    examples="""
    aisecops drift show
    aisecops drift check -o json | jq .report.problems
    """,
)
