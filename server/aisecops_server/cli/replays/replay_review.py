"""``aisecops replay judge``: what a reviewer says about what a replay changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show

if TYPE_CHECKING:
    from rich.console import Console

_JUDGEMENTS = ("expected", "unexpected", "seen")


@command(
    "judge",
    examples="""
    aisecops replay judge rpl-6cbe68d00ca61b32f8f66b22 grp-0e6a3bb81f3c9d20 expected --reason "ticket OPS-311 lowers it"
    aisecops replay judge rpl-6cbe68d00ca61b32f8f66b22 dec-01a21687da75914ec94d11d586f1067c unexpected --reason "no"
    aisecops replay judge rpl-6cbe68d00ca61b32f8f66b22 grp-0e6a3bb81f3c9d20 seen
    """,
)
@click.argument("replay", help="A replay's id, as 'replay run' prints it.")
@click.argument("subject", metavar="GROUP|DECISION", help="A group's id, as 'replay show' prints it, or a decision's.")
@click.argument("judgement", type=click.Choice(_JUDGEMENTS), help="What you say.")
@click.option("--reason", default="", help="Why; it stands in the log with your name. Only 'seen' needs none.")
def judge(*, replay: str, subject: str, judgement: str, reason: str) -> ExitCode:
    """Say whether what a replay changes was expected, or that you saw it.

    It is recorded as an event of the log, by who your credential proves. Your last word on a group stands, earlier ones
    stay in the log, and 'seen' takes back none. Needs the role security or secops. Nothing is decided by it.
    """
    from aisecops.v1 import review_service_pb2  # noqa: PLC0415
    from aisecops_client.reviews import Reviews  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    said = review_service_pb2.Judgement.Value(f"JUDGEMENT_{judgement.upper()}")
    named = {"decision_id" if subject.startswith("dec-") else "group_id": subject}
    with connect() as client:
        verdict = to_json(Reviews(client).judge(replay, said, reason=reason, **named))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.reviews import verdict_line  # noqa: PLC0415

        console.print(verdict_line(verdict))

    show({"verdict": verdict}, draw)
    return ExitCode.OK
