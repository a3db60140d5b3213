"""``aisecops dev``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_CLUSTER = "aisecops_server.cli.dev.dev_cluster"
_HERE = "aisecops_server.cli.dev.dev_commands"

dev = group(
    "dev",
    help="Make what a laptop needs: a policy, tokens, certificates.",
    entries={
        "policy": Entry(f"{_HERE}:policy", "Make a policy repository from the shipped library."),
        "onboard": Entry(
            "aisecops_server.cli.dev.dev_onboard:onboard",
            "Add agents and tools that recorded traces show to a policy's tables.",
        ),
        "ca": Entry("aisecops_server.cli.dev.dev_ca:ca", "Make a local authority and certificates for mutual TLS."),
        "cluster": Entry(f"{_CLUSTER}:cluster", "Make keys for the members of a replay cluster."),
        "token": Entry(f"{_HERE}:token", "Make a short-lived token with the local issuer."),
    },
    examples="""
    aisecops dev policy ./policy
    aisecops dev onboard traces.otlp.jsonl.gz --policy ./policy
    aisecops dev ca ./ca
    aisecops dev token --agent spiffe://corp.example/agent/support-assistant > support.token
    """,
)
