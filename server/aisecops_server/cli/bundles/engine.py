"""``aisecops engine``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.bundles.engine_commands"

engine = group(
    "engine",
    help="Get and check the policy engine (OPA).",
    entries={
        "install": Entry(f"{_HERE}:install", "Get the pinned engine and pin it by digest."),
        "path": Entry(f"{_HERE}:path", "Print the path of the engine that would run."),
        "list": Entry(f"{_HERE}:list_engines", "List the engines on this machine."),
        "doctor": Entry(f"{_HERE}:doctor", "Check the engine: digest, version, a probe decision."),
    },
    examples="""
    aisecops engine install
    aisecops engine install --from ./opa      where there is no network
    """,
)
