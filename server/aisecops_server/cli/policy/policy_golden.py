"""``aisecops policy golden``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

golden = group(
    "golden",
    help="Decide golden cases, and make them of real decisions.",
    entries={
        "run": Entry("aisecops_server.cli.policy.policy_checks:golden", "Decide the golden cases."),
        "add": Entry("aisecops_server.cli.policy.policy_corpora:add_case", "Make golden cases of a recorded trace."),
    },
    examples="""
    aisecops policy golden run
    aisecops policy golden add 0af7651916cd43dd8448eb211c80319c
    """,
)
