"""``aisecops log``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.log_commands"
_PROOFS = "aisecops_server.cli.log_proofs"
_EXPORTS = "aisecops_server.cli.export_commands"

log = group(
    "log",
    help="Read and verify the audit log.",
    entries={
        "verify": Entry(f"{_HERE}:verify", "Recompute every leaf and the Merkle root; needs no server."),
        "head": Entry(f"{_HERE}:head", "Print the log's size and Merkle root; needs no server."),
        "checkpoint": Entry(f"{_PROOFS}:checkpoint", "Print a signed checkpoint of the log as it is now."),
        "prove": Entry(f"{_PROOFS}:prove", "Prove that event INDEX is in the log."),
        "key": Entry(f"{_PROOFS}:key", "Print the key that the log's checkpoints are verified with."),
        "tail": Entry(f"{_HERE}:tail", "Follow events as they are recorded."),
        "export": Entry(f"{_EXPORTS}:export_log", "Write events as OCSF, CloudEvents or NDJSON, and go on later."),
    },
    examples="""
    aisecops log verify
    aisecops log checkpoint > monday.note
    aisecops log tail --all --once -o ndjson > events.ndjson
    """,
)
