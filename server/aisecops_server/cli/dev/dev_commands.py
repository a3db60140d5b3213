"""The commands of ``aisecops dev``."""

from __future__ import annotations

from pathlib import Path

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show
from aisecops_server.domain.callers.identity import Role

ROLES = tuple(role.value for role in Role)


@command("policy", examples="aisecops dev policy ./policy && aisecops serve --repository ./policy")
@click.argument("path", type=click.Path(path_type=Path), help="A folder that is not there yet.")
def policy(*, path: Path) -> ExitCode:
    """Make a policy repository from the shipped library.

    PATH becomes a Git repository with rules (rego/), tables that people edit (data/) and one commit.
    """
    from aisecops_server.adapters.git.create import create_policy_repository  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    commit = create_policy_repository(path.absolute(), at_seconds=SystemClock().now_ns() // 1_000_000_000)
    show(
        {"path": str(path.absolute()), "commit": commit, "branch": "main"},
        lambda console: console.print(f"{path.absolute()} at {commit}", soft_wrap=True),
    )
    say(f"next: aisecops serve --repository {path}")
    return ExitCode.OK


@command(
    "token",
    examples="""
    aisecops dev token --agent spiffe://corp.example/agent/support-assistant > support.token
    aisecops decide -f plan.json --token-file support.token
    aisecops dev token --agent auditor@corp.example --role auditor --minutes 60
    aisecops dev token --agent spiffe://corp.example/agent/support-assistant --audience http://127.0.0.1:8480/mcp
    """,
)
@click.option("--agent", required=True, help="Who the token is for: a SPIFFE id or a subject.")
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="May be given more than once.")
@click.option("--minutes", type=click.IntRange(1, 1440), default=60, show_default=True, help="How long it is valid.")
@click.option("--audience", default="", help="For whom it is instead of the control plane, such as an MCP proxy's URL.")
def token(*, agent: str, roles: tuple[str, ...], minutes: int, audience: str) -> ExitCode:
    """Make a short-lived token with the local issuer.

    The role is `agent` when none is given. The issuer's key lives in the state directory of a control plane
    that ran there; where there is an identity provider, its tokens take the place of these.
    """
    from aisecops_server.cli.credentials import local_token  # noqa: PLC0415

    made = local_token(agent, tuple(Role(role) for role in roles or ("agent",)), minutes * 60, audience=audience)
    show(
        {"token": made, "subject": agent, "roles": list(roles or ("agent",)), "expiresInSeconds": minutes * 60},
        lambda _: click.echo(made),
    )
    return ExitCode.OK
