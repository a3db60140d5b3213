"""The commands of ``aisecops ui``."""

from __future__ import annotations

import click

from aisecops_server.cli.configuration import settings
from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.domain.callers.identity import Role

# Agents and tool servers are no people.
PEOPLE = tuple(role for role in Role if role not in (Role.AGENT, Role.TOOL))
_DAY_MINUTES = 24 * 60


@command(
    "link",
    examples="""
    aisecops ui link
    aisecops ui link --person auditor@corp.example --role auditor
    aisecops ui link --to /traces?q=outcome:blocked
    """,
)
@click.option("--person", default="operator@localhost", show_default=True, help="Who signs in by it.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([role.value for role in PEOPLE]),
    help="What they may do; all of these when none is given.",
)
@click.option("--minutes", type=click.IntRange(1, _DAY_MINUTES), default=480, show_default=True, help="Signed in for.")
@click.option("--to", default="/", show_default=True, help="The page that it opens.")
def link(*, person: str, roles: tuple[str, ...], minutes: int, to: str) -> ExitCode:
    """Make a link that opens the UI and signs in once.

    It is good for five minutes and for one use. It needs the issuer's key in the state directory, which the user who
    runs the control plane can read; where there is an identity provider, sign in with a token of it instead.
    """
    from aisecops_server.bootstrap.web import link as make_link  # noqa: PLC0415
    from aisecops_server.bootstrap.web import served_at  # noqa: PLC0415
    from aisecops_server.cli.credentials import local_token  # noqa: PLC0415

    chosen = tuple(Role(role) for role in roles) or PEOPLE
    made = make_link(settings(), local_token(person, chosen, minutes * 60), to=to)
    show({"link": made, "person": person, "roles": [role.value for role in chosen]}, lambda _: click.echo(made))
    say("good for five minutes and one use")
    if not served_at(settings()):
        say("nothing serves it from this state directory now; start 'aisecops serve' first")
    return ExitCode.OK
