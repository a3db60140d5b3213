"""``aisecops witness``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.log.witness_commands"

witness = group(
    "witness",
    help="Run a witness, which signs only what extends what it signed before.",
    entries={
        "serve": Entry(f"{_HERE}:serve", "Run a witness until it is told to stop."),
        "key": Entry(f"{_HERE}:key", "Print the key that a witness signs with."),
    },
    examples="""
    aisecops witness key --state-dir /var/lib/witness --name witness.example
    aisecops witness serve --state-dir /var/lib/witness --name witness.example --log "$(cat log.key)"
    """,
)
