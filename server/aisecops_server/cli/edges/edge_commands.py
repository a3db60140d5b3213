"""The commands of ``aisecops edge``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aisecops_server.cli.configuration import tenant_settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show, show_list, when

if TYPE_CHECKING:
    from rich.console import Console


@command(
    "list",
    examples="""
    aisecops edge list
    aisecops edge list -o json | jq -r '.edges[] | [.edgeId, .reconciled.size] | @tsv'
    """,
)
def list_edges() -> ExitCode:
    """List the edges that policy registers or that have enrolled, and how much of its log the centre has of each.

    Edges are registered in the policy repository (data/edges.yaml).
    """
    from aisecops_client.edges import Edges  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(Edges(client).all())

    def draw(console: Console) -> None:
        from aisecops_server.terminal.edges import edge_table  # noqa: PLC0415

        console.print(edge_table(console, found["edges"], when))

    show_list(found, items="edges", draw=draw, empty="no edge is registered, and none has enrolled")
    return ExitCode.OK


@command("key", examples="aisecops edge key > centre.pem")
def key() -> ExitCode:
    """Print the public key that this control plane signs policy with, in PEM.

    Reads the state directory. Bring the key to an edge by a way that you trust, and name its file there in the setting
    centre_bundle_key: an edge believes what is signed with it, and nothing else.
    """
    from aisecops_server.bootstrap.edge import bundle_key  # noqa: PLC0415

    found = bundle_key(tenant_settings())
    show({"key": found}, lambda _: click.echo(found, nl=False))
    return ExitCode.OK


@command(
    "status",
    examples="""
    aisecops edge status --state-dir /var/lib/aisecops-edge
    aisecops edge status -o json | jq .pending
    """,
)
def status() -> ExitCode:
    """Say how old this edge's policy is, how long it may still decide, and what of its log the centre has.

    Reads the state directory, and works whether or not the edge runs or reaches its centre. Exit code 3 when nothing
    can be decided by its policy any more.
    """
    from aisecops_server.cli.edges.local_edge import edge_status  # noqa: PLC0415

    found = edge_status(tenant_settings())

    def draw(console: Console) -> None:
        from aisecops_server.terminal.edges import status_block  # noqa: PLC0415

        console.print(status_block(console, found, when))

    show(found, draw)
    return ExitCode.OK if found["usable"] else ExitCode.DENIED
