"""The commands of ``aisecops agent``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list, when

if TYPE_CHECKING:
    from aisecops_client.agents import Agents
    from google.protobuf.message import Message
    from rich.console import Console


def _ask(question: Callable[[Agents], Message]) -> dict[str, Any]:
    from aisecops_client.agents import Agents  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        return to_json(question(Agents(client)))


@command(
    "list",
    examples="""
    aisecops agent list
    aisecops agent list --unregistered      who asks and is not known: it is denied everything
    aisecops agent list --owner customer-support -o json | jq -r .agents[].agentId
    """,
)
@click.option(
    "--unregistered", "registration", flag_value="unregistered", help="Only those that asked and are not registered."
)
@click.option("--registered", "registration", flag_value="registered", help="Only those that are registered.")
@click.option("--owner", default="", help="Only those of a team.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Agents on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
def list_agents(*, registration: str | None, owner: str, limit: int, page: str) -> ExitCode:
    """List agents by id, with what became of what they asked.

    Agents are registered in the policy repository (data/agents.yaml). One that asks and is not there is denied, and
    listed here until it is.
    """
    found = _ask(
        lambda agents: agents.page(registration=registration or "", owner=owner, page_size=limit, page_token=page)
    )

    def draw(console: Console) -> None:
        from aisecops_server.terminal.agents import agent_table  # noqa: PLC0415

        console.print(agent_table(console, found["agents"], when))

    show_list(found, items="agents", draw=draw, empty="no agent matches")
    say(f"{found['registered']} registered, {found['unregistered']} seen that are not")
    if found["nextPageToken"]:
        say(f"more: --page {found['nextPageToken']}")
    return ExitCode.OK


@command("show", examples="aisecops agent show spiffe://corp.example/agent/support-assistant")
@click.argument("agent_id", metavar="ID", help="The id that the agent's credential proves.")
def show_agent(*, agent_id: str) -> ExitCode:
    """Show one agent: who answers for it, what it may do, and what it asked. ID is what its credential proves.

    Exit code 3 when it is not registered.
    """
    found = _ask(lambda agents: agents.agent(agent_id))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.agents import agent_block  # noqa: PLC0415

        console.print(agent_block(console, found, when))

    show({"agent": found}, draw)
    return ExitCode.OK if found["registered"] else ExitCode.DENIED
