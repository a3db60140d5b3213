"""The commands of ``aisecops replay`` about single traces: on several revisions, and along history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show
from aisecops_server.cli.progress import progress
from aisecops_server.cli.replays.replay_commands import LOCAL, place_of

if TYPE_CHECKING:
    from rich.console import Console


@command(
    "matrix",
    examples="""
    aisecops replay matrix 01a21687da5b5d32b483b88d48cc15aa --against main --against v1.4
    aisecops replay matrix 01a21687da5b5d32b483b88d48cc15aa 01a21687da5b5d32b483b88d48cc15ab --against pull/7 -o json
    """,
)
@click.argument("traces", nargs=-1, required=True, metavar="TRACE...", help="Traces' ids.")
@click.option(
    "--against", "revisions", multiple=True, required=True, help="A commit, branch, tag or proposal. May be repeated."
)
@click.option("--local", is_flag=True, help=LOCAL)
def matrix(*, traces: tuple[str, ...], revisions: tuple[str, ...], local: bool) -> ExitCode:
    """Show what the decisions of traces would be on several revisions.

    A revision that cannot be built has a problem instead of outcomes.
    """
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415

    with progress("asking", "revisions") as advance:
        found = to_json(place_of(local=local).matrix(traces, revisions, advance))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.matrices import matrix_block  # noqa: PLC0415

        console.print(matrix_block(console, found))

    show(found, draw)
    return ExitCode.OK


@command(
    "bisect",
    examples="""
    aisecops replay bisect 01a21687da5b5d32b483b88d48cc15aa
    aisecops replay bisect 01a21687da5b5d32b483b88d48cc15aa --good v1.4 --bad main
    """,
)
@click.argument("trace", help="A trace's id.")
@click.option("--good", default="", help="The revision to begin with; left out: the one that decided.")
@click.option("--bad", default="", help="The revision to end with; left out: the head of the followed branch.")
@click.option("--local", is_flag=True, help=LOCAL)
def bisect(*, trace: str, good: str, bad: str, local: bool) -> ExitCode:
    """Name the commit that made a decision another one.

    Few commits are all asked. Of many, halves are cut off and some are looked at again afterwards; it is said whether
    history changed its mind more than once, and whether every commit was asked. Commits that cannot be built are
    passed over and named. Exit code 5 when a decision became another one.
    """
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415

    with progress("asking", "commits") as advance:
        found = to_json(place_of(local=local).bisect(trace, good=good, bad=bad, advance=advance))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.matrices import bisection_block  # noqa: PLC0415

        console.print(bisection_block(console, found))

    show(found, draw)
    return ExitCode.REPLAY_CHANGED if found["flips"] else ExitCode.OK
