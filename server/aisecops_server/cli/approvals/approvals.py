"""``aisecops approvals``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.approvals.approval_commands"

approvals = group(
    "approvals",
    help="See what waits for people, and answer it.",
    entries={
        "list": Entry(f"{_HERE}:list_approvals", "List what waits for people, the soonest to expire first."),
        "show": Entry(f"{_HERE}:show_approval", "Show exactly what would run, and why people are asked."),
        "approve": Entry(f"{_HERE}:approve", "Agree to one plan, once."),
        "deny": Entry(f"{_HERE}:deny", "Reject a request; one denial ends it."),
        "withdraw": Entry(f"{_HERE}:withdraw", "Take a request back, also one that was granted."),
        "key": Entry(f"{_HERE}:key", "Make a key of your own to sign votes with, or print its public half."),
        "notices": Entry(
            "aisecops_server.cli.approvals.notice_commands:notices",
            "See messages that were given up, and send them again.",
        ),
        "rotate-key": Entry(f"{_HERE}:rotate_key", "Replace the key with which the control plane attests votes."),
        "wait": Entry(f"{_HERE}:wait", "Wait until people have decided; the exit code is the answer."),
    },
    examples="""
    aisecops approvals list
    aisecops approvals show apr-0199f2c4a1b7
    aisecops approvals approve apr-0199f2c4a1b7 --note "checked with the carrier"
    """,
)
