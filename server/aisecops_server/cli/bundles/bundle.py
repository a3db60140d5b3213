"""``aisecops bundle``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.bundles.bundle_commands"

bundle = group(
    "bundle",
    help="See and change which policy revision is live.",
    entries={
        "status": Entry(f"{_HERE}:status", "Say what is live and what went wrong last."),
        "list": Entry(f"{_HERE}:list_revisions", "List the commits of the policy repository."),
        "show": Entry(f"{_HERE}:show_revision", "Show one revision and its rules."),
        "diff": Entry(f"{_HERE}:diff", "Show what changed between two revisions."),
        "sync": Entry(f"{_HERE}:sync", "Read the repository now and activate its head."),
        "activate": Entry(f"{_HERE}:activate", "Make a commit live."),
        "rollback": Entry(f"{_HERE}:rollback", "Make the previous revision live again, at once."),
    },
    examples="""
    aisecops bundle status
    aisecops bundle diff
    aisecops bundle activate 4f2a91c --reason "lower the payment limit"
    """,
)
