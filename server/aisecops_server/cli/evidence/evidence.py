"""``aisecops evidence``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.evidence.evidence_commands"

evidence = group(
    "evidence",
    help="Make and verify packages that prove what was decided.",
    entries={
        "export": Entry(f"{_HERE}:export", "Make a package of traces that others can verify offline."),
        "keys": Entry(f"{_HERE}:keys", "Print the keys that sign packages, or rotate the one that does."),
        "open": Entry(f"{_HERE}:show_package", "Verify a package and show it in the browser; needs no server."),
        "verify": Entry(f"{_HERE}:verify", "Verify a package; needs no server."),
    },
    examples="""
    aisecops evidence export TRACE -f case-17.zip
    aisecops evidence verify case-17.zip --reproduce
    aisecops evidence open case-17.zip
    aisecops evidence keys rotate --reason "yearly"
    """,
)
