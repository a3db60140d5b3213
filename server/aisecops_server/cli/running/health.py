"""``aisecops health``: whether a plan would get a decision now, for probes and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show

if TYPE_CHECKING:
    from rich.console import Console

SERVING = "SERVING"


@command(
    "health",
    examples="""
    aisecops health
    aisecops health --alive
        for a liveness probe: a control plane that decides nothing now may be mended while it runs
    aisecops health --server control.example:8443 --ca ca.pem --cert agent.pem
    """,
)
@click.option("--alive", is_flag=True, help="Ask only whether it answers, not whether it could decide.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="How long to wait for the answer."
)
def health(*, alive: bool, seconds: float) -> ExitCode:
    """Say whether a plan would get a decision now.

    Needs no credential. Exit code 0 when it would, 1 when the control plane answers and could not decide, 8 when
    nobody answers in time.
    """
    from aisecops_server.cli.connection import ask_health  # noqa: PLC0415

    state = ask_health(seconds)

    def draw(console: Console) -> None:
        console.print(state, style="green" if state == SERVING else "red")
        if state != SERVING:
            console.print("'aisecops bundle status' and 'aisecops doctor' say why", style="dim")

    show({"state": state}, draw)
    return ExitCode.OK if alive or state == SERVING else ExitCode.FAILURE
