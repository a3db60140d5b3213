"""``aisecops grant``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.grants.grant_commands"

grant = group(
    "grant",
    help="See what became of execution grants, take them back, get the keys that verify them.",
    entries={
        "show": Entry(f"{_HERE}:show_grants", "Show what became of the grants of a decision."),
        "revoke": Entry(f"{_HERE}:revoke", "Let unused grants of an agent or a decision be used no more."),
        "keys": Entry(f"{_HERE}:keys", "Print the public keys for tool servers as JWKS, or rotate the key that signs."),
    },
    examples="""
    aisecops grant show dec-0199f1d2a3b4c5d6e7f8091a2b3c4d5e
    aisecops grant revoke --agent spiffe://corp.example/agent/support-assistant --reason "odd calls"
    aisecops grant keys > grants.jwks.json
    aisecops grant keys rotate --reason "yearly"
    """,
)
