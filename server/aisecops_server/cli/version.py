"""``aisecops version``: which parts this is made of."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show

if TYPE_CHECKING:
    from rich.console import Console

PARTS = ("grpcio", "protobuf", "pydantic", "apsw", "cryptography", "click", "rich")


@command("version", examples="aisecops version -o json | jq -r .aisecops")
def version() -> ExitCode:
    """Print the versions of the parts."""
    from aisecops_server.adapters.opa.binary import PINNED_VERSION  # noqa: PLC0415

    found = {"aisecops": metadata.version("aisecops"), "api": "aisecops.v1", "pinnedEngine": f"OPA {PINNED_VERSION}"}
    found |= {"python": platform.python_version()} | {name: metadata.version(name) for name in PARTS}

    def draw(console: Console) -> None:
        from aisecops_server.terminal.lists import plain_table  # noqa: PLC0415

        table = plain_table("part", "version")
        for name, value in found.items():
            table.add_row(name, value)
        console.print(table)

    show(found, draw)
    return ExitCode.OK
