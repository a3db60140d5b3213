"""``aisecops rollout``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.bundles.rollout_commands"

rollout = group(
    "rollout",
    help="Bring a revision to agents step by step: watch, some, all.",
    entries={
        "start": Entry(f"{_HERE}:start", "Have a revision see live plans, and decide none."),
        "status": Entry(f"{_HERE}:status", "Show how the two revisions compare, and what stands against promoting."),
        "list": Entry(f"{_HERE}:list_rollouts", "List the latest rollouts."),
        "canary": Entry(f"{_HERE}:canary", "Have the candidate decide for some agents."),
        "promote": Entry(f"{_HERE}:promote", "Make the candidate live."),
        "rollback": Entry(f"{_HERE}:rollback", "Take the candidate back, at once."),
        "abort": Entry(f"{_HERE}:abort", "End the rollout; the live revision decides alone."),
    },
    examples="""
    aisecops rollout start 4f2a91c --reason "lower the payment limit"
    aisecops rollout canary --percent 5
    aisecops rollout status --watch
    aisecops rollout promote
    """,
)
