"""``aisecops replay``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.replays.replay_commands"
_REVIEW = "aisecops_server.cli.replays.replay_review"
_CLUSTER = "aisecops_server.cli.replays.replay_cluster"
_TRACES = "aisecops_server.cli.replays.replay_traces"

replay = group(
    "replay",
    help="Decide recorded decisions again, on another policy or engine. Nothing is acted on.",
    entries={
        "run": Entry(f"{_HERE}:run", "Replay history and say what flips."),
        "show": Entry(f"{_HERE}:show_replay", "Show a replay and the decisions that changed."),
        "why": Entry(f"{_HERE}:why", "Say why a decision flips, and what would have to be otherwise."),
        "judge": Entry(f"{_REVIEW}:judge", "Say whether what a replay changes was expected, or that you saw it."),
        "matrix": Entry(f"{_TRACES}:matrix", "Show what the decisions of traces would be on several revisions."),
        "bisect": Entry(f"{_TRACES}:bisect", "Name the commit that made a decision another one."),
        "list": Entry(f"{_HERE}:list_replays", "List replays, newest first."),
        "scheduler": Entry(f"{_CLUSTER}:scheduler", "Run the scheduler of a replay cluster."),
        "worker": Entry(f"{_CLUSTER}:worker", "Run a worker, which judges parts of replays for others."),
        "cancel": Entry(f"{_HERE}:cancel", "Stop a replay; what it found is kept."),
    },
    examples="""
    aisecops replay run --against main
    aisecops replay run --against pull/7 --outcome blocked
    aisecops replay run --set approvals.tools.crm/issue_refund.amount_over=50
    """,
)
