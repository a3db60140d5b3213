"""``aisecops edge``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.edges.edge_commands"

edge = group(
    "edge",
    help="See edges, which decide beside agents by policy from their centre.",
    entries={
        "list": Entry(f"{_HERE}:list_edges", "At the centre: list edges and how far each is reconciled."),
        "key": Entry(f"{_HERE}:key", "At the centre: print the key that edges pin."),
        "status": Entry(f"{_HERE}:status", "At an edge: say how old its policy is and what the centre has of its log."),
    },
    examples="""
    aisecops edge key > centre.pem
    aisecops serve --profile edge --centre control.example:8443 --edge-id spiffe://corp.example/edge/shop-7
    aisecops edge status --state-dir /var/lib/aisecops-edge
    aisecops edge list
    """,
)
