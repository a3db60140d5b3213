"""``aisecops dev cluster``: the keys of a replay cluster's members, for a trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show

if TYPE_CHECKING:
    from rich.console import Console

_NODES = ("scheduler", "worker-1", "worker-2", "replay")


@command(
    "cluster",
    examples="""
    aisecops dev cluster ./cluster
    AISECOPS_CONFIG=cluster/scheduler.yaml aisecops replay scheduler
    AISECOPS_CONFIG=cluster/worker-1.yaml aisecops replay worker --repository ./policy
    AISECOPS_CONFIG=cluster/replay.yaml aisecops replay run --against main --local
    """,
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="A folder for them.")
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="A member. May be given more than once.")
@click.option("--scheduler", "address", default="127.0.0.1:8786", show_default=True, help="Where the scheduler is.")
@click.option("--hours", type=click.IntRange(1, 24), default=12, show_default=True, help="How long they are valid.")
def cluster(*, directory: Path, nodes: tuple[str, ...], address: str, hours: int) -> ExitCode:
    """Make an authority of its own for a replay cluster, and for each member a key and a settings file.

    Whoever has a key of it can run programs on every member, so it is no authority for anybody else. For a trial on one
    machine; on several, make the keys where they are used.
    """
    from aisecops_server.adapters.identity.cluster_folder import make_cluster  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    made = make_cluster(directory, nodes or _NODES, scheduler=address, hours=hours, clock=SystemClock())

    def draw(console: Console) -> None:
        from aisecops_server.terminal.lists import plain_table  # noqa: PLC0415

        table = plain_table("member", "settings")
        for name, path in made.items():
            table.add_row(name, str(path))
        console.print(table)

    show({"members": [{"name": name, "settings": str(path)} for name, path in made.items()]}, draw)
    say("each member: AISECOPS_CONFIG=<its settings> aisecops replay scheduler | worker | run --local")
    return ExitCode.OK
