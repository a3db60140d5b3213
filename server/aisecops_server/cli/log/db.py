"""``aisecops db``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.log.db_commands"

db = group(
    "db",
    help="A log that several control planes share, in PostgreSQL: make it, look at it, move a log into it.",
    entries={
        "init": Entry(f"{_HERE}:init", "Make the log in an empty database, and let roles use it."),
        "migrate": Entry(f"{_HERE}:migrate", "Bring the schema of the log up to date."),
        "status": Entry(f"{_HERE}:status", "Say what the database holds, and what speaks against using it."),
        "import": Entry(f"{_HERE}:bring", "Move the log of a state directory into the database."),
    },
    examples="""
    aisecops db init --url 'postgresql://owner@db.example/aisecops?sslmode=verify-full' --writer replica
    aisecops db status
    aisecops db import --state-dir ./state
    """,
)
