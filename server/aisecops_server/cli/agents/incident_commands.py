"""``aisecops incident list|tail``, through the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command, current
from aisecops_server.cli.output import console, say, show_lines, show_list, when
from aisecops_server.domain.decisions.decision import Severity
from aisecops_server.domain.grants.incident import IncidentKind

if TYPE_CHECKING:
    from rich.console import Console

_NONE = "no incidents: as far as it was told, everything ran as it was decided"


@command(
    "list",
    examples="""
    aisecops incident list
    aisecops incident list --kind blocked_but_run --agent spiffe://corp.example/agent/support-assistant
    aisecops incident list -o ndjson | jq -r .event.traceId
    """,
)
@click.option("--kind", type=click.Choice([kind.value for kind in IncidentKind]), help="Only this kind.")
@click.option("--severity", type=click.Choice([level.value for level in Severity]), help="Only this severity.")
@click.option("--agent", default="", help="Only of this agent.")
@click.option("--trace", default="", help="Only in this trace.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Incidents on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
def list_incidents(**asked: Any) -> ExitCode:
    """List runtime incidents, newest first.

    The exit code is 3 when there are any, and 0 when there are none.
    """
    from aisecops.v1.execution_service_pb2 import ListIncidentsRequest  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    narrow = ListIncidentsRequest(
        page_size=asked["limit"],
        page_token=asked["page"],
        kind=asked["kind"] or "",
        severity=asked["severity"] or "",
        agent_id=asked["agent"],
        trace_id=asked["trace"],
    )
    with connect() as client:
        page = to_json(client.incidents(narrow))
    show_list(page, items="incidents", draw=lambda target: _draw(target, page), empty=_NONE)
    if page["nextPageToken"]:
        say(f"more: --page {page['nextPageToken']}")
    return ExitCode.DENIED if page["incidents"] else ExitCode.OK


@command(
    "tail",
    examples="""
    aisecops incident tail                          new incidents until Ctrl-C
    aisecops incident tail --all --once -o ndjson > incidents.ndjson
    """,
)
@click.option("--all", "everything", is_flag=True, help="Start with the first event rather than with new ones.")
@click.option("--once", is_flag=True, help="Stop at the end of the log instead of waiting for more.")
def tail_incidents(*, everything: bool, once: bool) -> ExitCode:
    """Follow incidents as they happen."""
    from aisecops_server.cli.log.events import first_index, incidents  # noqa: PLC0415
    from aisecops_server.terminal.executions import incident_line  # noqa: PLC0415

    found = incidents(first_index(everything=everything or once), follow=not once)
    if current().machine:
        show_lines(found)
        return ExitCode.OK
    target = console()
    count = 0
    for count, incident in enumerate(found, 1):  # noqa: B007 - counted, not used
        target.print(incident_line(target, incident, when), soft_wrap=True)
    if not count:
        say(_NONE)
    return ExitCode.OK


def _draw(target: Console, page: Mapping[str, Any]) -> None:
    from aisecops_server.terminal.executions import incident_line  # noqa: PLC0415

    for incident in page["incidents"]:
        target.print(incident_line(target, incident, when), soft_wrap=True)
