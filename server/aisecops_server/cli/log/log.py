"""``aisecops log``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.log.log_commands"
_KEEPING = "aisecops_server.cli.log.log_keeping"
_PROOFS = "aisecops_server.cli.log.log_proofs"
_EXPORTS = "aisecops_server.cli.traces.export_commands"

log = group(
    "log",
    help="Read and verify the audit log.",
    entries={
        "verify": Entry(f"{_HERE}:verify", "Recompute every leaf and the Merkle root; needs no server."),
        "head": Entry(f"{_HERE}:head", "Print the log's size and Merkle root; needs no server."),
        "checkpoint": Entry(f"{_PROOFS}:checkpoint", "Print a signed checkpoint of the log as it is now."),
        "prove": Entry(f"{_PROOFS}:prove", "Prove that event INDEX, or that of a receipt, is in the log."),
        "key": Entry(f"{_PROOFS}:key", "Print the key that the log signs with, or rotate it."),
        "tail": Entry(f"{_HERE}:tail", "Follow events as they are recorded."),
        "export": Entry(f"{_EXPORTS}:export_log", "Write events as OCSF, CloudEvents or NDJSON, and go on later."),
        "export-partitions": Entry(
            "aisecops_server.cli.log.partition_commands:export_partitions", "Write the decisions as Parquet files."
        ),
        "retain": Entry(f"{_KEEPING}:retain", "Erase what data/retention.yaml does not keep any longer."),
        "erase": Entry(f"{_KEEPING}:erase", "Erase what agents and people wrote in TRACE."),
        "hold": Entry(f"{_KEEPING}:hold", "Legal holds: what they name is never erased."),
    },
    examples="""
    aisecops log verify
    aisecops log checkpoint > monday.note
    aisecops log tail --all --once -o ndjson > events.ndjson
    """,
)
