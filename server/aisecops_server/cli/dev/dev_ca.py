"""``aisecops dev ca``: what mutual TLS needs, for one machine and some hours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.adapters.identity.trial_folder import Trial

_AGENTS = ("support-assistant",)
_PEOPLE = ("ada=security", "grace=platform", "iris=secops", "omar=auditor")


@command(
    "ca",
    examples="""
    aisecops dev ca ./ca      an authority, a server, an agent, four people
    aisecops dev ca ./ca --agent finance-assistant --person eve=app      some more; everybody else is renewed
    AISECOPS_CONFIG=ca/settings.yaml aisecops serve --repository ./policy
    aisecops bundle status --server localhost:8443 --ca ca/ca.pem --cert ca/person/ada.pem
    """,
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="A folder for it.")
@click.option("--agent", "agents", multiple=True, metavar="NAME", help="An agent. May be given more than once.")
@click.option(
    "--person",
    "people",
    multiple=True,
    metavar="NAME=ROLE",
    help="A person or a machine, with one role or several (ada=security,auditor). May be given more than once.",
)
@click.option("--edge", "edges", multiple=True, metavar="NAME", help="An edge. May be given more than once.")
@click.option("--name", "names", multiple=True, help="A host name or address that the server is reached by as well.")
@click.option("--trust-domain", default="corp.example", show_default=True, help="That of the SPIFFE ids.")
@click.option("--hours", type=click.IntRange(1, 24), default=12, show_default=True, help="How long they are valid.")
def ca(
    *,
    directory: Path,
    agents: tuple[str, ...],
    people: tuple[str, ...],
    edges: tuple[str, ...],
    names: tuple[str, ...],
    trust_domain: str,
    hours: int,
) -> ExitCode:
    """Make a local authority and certificates, so that a trial has real mutual TLS.

    DIR gets the authority (ca.pem, ca.key), the certificates of the control plane (server.pem), of agents
    (agent/NAME.pem), of people (person/NAME.pem) and of edges (edge/NAME.pem), each with its key beside it;
    settings.yaml, with which 'aisecops serve' demands them; and identities.yaml, which says who holds which role.

    Run it again to renew everybody; a running control plane takes the new certificates by itself. The authority's
    key lies in DIR, so whoever reads it can be anybody: for a trial on one machine, and nothing else.
    """
    from aisecops_server.adapters.identity.local_authority import CERTIFICATE_FILE  # noqa: PLC0415
    from aisecops_server.adapters.identity.trial_folder import Wish, make_trial  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    fresh = not (directory / CERTIFICATE_FILE).exists()
    wish = Wish(
        trust_domain=trust_domain,
        agents=agents or (_AGENTS if fresh else ()),
        people=dict(_person(text) for text in people or (_PEOPLE if fresh else ())),
        names=("localhost", "127.0.0.1", "::1", *names),
        hours=hours,
        edges=edges,
    )
    trial = make_trial(directory, wish, SystemClock())
    show(_document(trial), lambda console: _draw(console, trial))
    person = next((holder for holder in trial.holders if Role.AGENT not in holder.roles), None)
    say(f"valid until {min(holder.expires for holder in trial.holders):%Y-%m-%d %H:%MZ}; run this again to renew")
    say(f"serve: AISECOPS_CONFIG={trial.settings} aisecops serve --repository ./policy")
    if person is not None:
        say(
            f"ask:   aisecops bundle status --server {trial.address} --ca {trial.authority} --cert {person.certificate}"
        )
    return ExitCode.OK


def _person(text: str) -> tuple[str, tuple[Role, ...]]:
    name, _, roles = text.partition("=")
    try:
        return name, tuple(Role(role) for role in roles.split(","))
    except ValueError as error:
        known = ", ".join(role.value for role in Role if role is not Role.AGENT)
        raise InvalidRequestError(
            f"'{text}' is not NAME=ROLE", hint=f"Roles are {known}; several with commas", field="--person"
        ) from error


def _document(trial: Trial) -> dict[str, object]:
    return {
        "authority": str(trial.authority),
        "settings": str(trial.settings),
        "holders": [
            {
                "id": holder.id,
                "roles": [role.value for role in holder.roles],
                "certificate": str(holder.certificate),
                "expiresAt": f"{holder.expires:%Y-%m-%dT%H:%M:%SZ}",
            }
            for holder in trial.holders
        ],
    }


def _draw(console: Console, trial: Trial) -> None:
    from aisecops_server.terminal.lists import plain_table  # noqa: PLC0415

    table = plain_table("certificate", "roles", "who")
    for holder in trial.holders:
        roles = " ".join(role.value for role in holder.roles)
        table.add_row(str(holder.certificate), roles, holder.id)
    console.print(table)
