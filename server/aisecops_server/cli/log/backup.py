"""``aisecops backup``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.log.backup_commands"

backup = group(
    "backup",
    help="Keep the record safe: back it up while it grows, and restore it.",
    entries={
        "make": Entry(f"{_HERE}:make", "Copy the state of a control plane, which may run, into a new FOLDER."),
        "verify": Entry(f"{_HERE}:verify", "Verify every file of a backup, and every leaf of its log."),
        "restore": Entry(f"{_HERE}:restore", "Put a backup where a control plane finds it."),
    },
    examples="""
    aisecops backup make /backup/monday
    aisecops backup verify /backup/monday
    aisecops backup restore /backup/monday --state-dir ./state --reason "the disk failed" --against head.json
    """,
)
