"""``aisecops policy corpus``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

corpus = group(
    "corpus",
    help="Take recorded decisions along, without their private words.",
    entries={
        "export": Entry("aisecops_server.cli.policy.policy_corpora:export", "Write recorded decisions into a file."),
    },
    examples="aisecops policy corpus export --since 30d --file recent.ndjson.gz",
)
