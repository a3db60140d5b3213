"""``aisecops maturity``, through the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.domain.display.words import PHASES, bare, phase_word

if TYPE_CHECKING:
    from rich.console import Console


@command(
    "maturity",
    examples="""
    aisecops maturity
    aisecops maturity --agent spiffe://corp.example/agent/support-assistant
    aisecops maturity --require enforced      for a pipeline: the exit code is 3 below it
    aisecops maturity -o json | jq '.agents[] | {agentId, phase}'
    """,
)
@click.option("--agent", default="", help="Only this agent, question by question.")
@click.option(
    "--require",
    type=click.Choice([phase.lower() for phase in PHASES]),
    help="Exit with 3 when this phase is not reached.",
)
def maturity(*, agent: str, require: str | None) -> ExitCode:
    """See how far adoption is, and what to do next.

    Each phase asks questions, which records answer: 0 ungoverned, 1 observed, 2 enforced, 3 controlled, 4 assured. What
    each takes stands in the policy repository (data/maturity.yaml).
    """
    from aisecops_client.agents import Agents  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(Agents(client).maturity(agent))
    judged = found["agents"][0] if agent else found["overall"]

    def draw(console: Console) -> None:
        from aisecops_server.terminal.maturity import agent_phases, maturity_block  # noqa: PLC0415

        console.print(maturity_block(console, judged))
        if not agent:
            console.print(agent_phases(console, found["agents"]))

    show(found, draw)
    say(f"read from the last {int(found['decisions']):,} decisions, by the table of {found['revision'][:8]}")
    if require and PHASES.index(bare(judged["phase"])) < PHASES.index(require.upper()):
        say(f"the phase is {phase_word(judged['phase'])}, and {require} is required")
        return ExitCode.DENIED
    return ExitCode.OK
