"""``aisecops approvals notices``: the messages that tell people of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list, when
from aisecops_server.cli.tree import Entry, group

if TYPE_CHECKING:
    from rich.console import Console

_HERE = "aisecops_server.cli.approvals.notice_commands"
_STATES = ("pending", "delivered", "dead")

notices = group(
    "notices",
    help="See messages that were given up, and send them again.",
    entries={
        "list": Entry(f"{_HERE}:list_notices", "List messages, newest first; those that were given up unless asked."),
        "resend": Entry(f"{_HERE}:resend", "Put messages that were given up back into the outbox."),
    },
    examples="""
    aisecops approvals notices list
    aisecops approvals notices resend ntc-0199f2c4a1b7
    """,
)


@command(
    "list",
    examples="""
    aisecops approvals notices list
    aisecops approvals notices list --state pending -o json | jq -r .notices[].endpoint
    """,
)
@click.option(
    "--state", type=click.Choice(_STATES), default="dead", show_default=True, help="Only those in this state."
)
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Messages on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
def list_notices(*, state: str, limit: int, page: str) -> ExitCode:
    """List messages, newest first; those that were given up unless asked.

    A message is given up when its webhook refused it for good, or did not take it for hours.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(client.approvals.notices(state=state, page_size=limit, page_token=page))

    def draw(console: Console) -> None:
        for notice in found["notices"]:
            told = f"{notice['noticeId']}  {notice['endpoint']}  {when(notice['createdAt'])}"
            console.print(f"{told}  {notice['attempts']} attempts  {notice['problem']}".rstrip(), soft_wrap=True)

    show_list(found, items="notices", draw=draw, empty=f"no message is {state}")
    if found["nextPageToken"]:
        say(f"more: --page {found['nextPageToken']}")
    return ExitCode.OK


@command("resend", examples="aisecops approvals notices resend ntc-0199f2c4a1b7")
@click.argument("notice_id", metavar="ID", help="The id of a message, as 'notices list' shows it.")
def resend(*, notice_id: str) -> ExitCode:
    """Put messages that were given up back into the outbox.

    It is tried as if it were new, and the log tells who did it.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        resent = to_json(client.approvals.resend_notice(notice_id))
    show(
        {"notice": resent}, lambda console: console.print(f"{resent['noticeId']} waits again for {resent['endpoint']}")
    )
    return ExitCode.OK
