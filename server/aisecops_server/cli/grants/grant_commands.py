"""``aisecops grant show|revoke|keys``, through the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list, when

if TYPE_CHECKING:
    from aisecops.v1.execution_service_pb2 import RotateGrantKeyResponse
    from rich.console import Console


@command(
    "show",
    examples="""
    aisecops grant show dec-0199f1d2a3b4c5d6e7f8091a2b3c4d5e
    aisecops grant show dec-0199f1d2a3b4c5d6e7f8091a2b3c4d5e -o json | jq -r .grants[].state
    """,
)
@click.argument("decision", help="A decision's id, as 'trace show' prints it.")
def show_grants(*, decision: str) -> ExitCode:
    """Show what became of the grants of a decision.

    A grant is issued, may be redeemed, and ends as executed, failed, or unknown when nobody told in time.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(client.grants(decision))
    empty = "no grants: nothing was allowed by that decision, or there is none of that id"
    show_list(found, items="grants", draw=lambda target: _draw(target, found), empty=empty)
    return ExitCode.OK


@command(
    "revoke",
    examples="""
    aisecops grant revoke --agent spiffe://corp.example/agent/support-assistant --reason "odd calls"
    aisecops grant revoke --decision dec-0199f1d2a3b4c5d6e7f8091a2b3c4d5e
    """,
)
@click.option("--agent", default="", help="Every unused grant of this agent.")
@click.option("--decision", default="", help="Every unused grant of this decision.")
@click.option("--reason", default="", help="Why, for the record.")
def revoke(*, agent: str, decision: str, reason: str) -> ExitCode:
    """Let unused grants be used no more.

    Calls that are under way run on, and tool servers that verify without asking notice nothing until the grants
    end by themselves, which is a matter of seconds. What the agent may do from now on is policy.
    """
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    if bool(agent) == bool(decision):
        raise click.UsageError("name an agent with --agent or a decision with --decision, and not both")
    with connect() as client:
        revoked = client.revoke_grants(agent_id=agent, decision_id=decision, reason=reason)
    show({"revoked": revoked}, lambda target: target.print(f"{revoked} revoked"))
    return ExitCode.OK


@command(
    "keys",
    examples="""
    aisecops grant keys > grants.jwks.json
    aisecops grant keys show
    aisecops grant keys rotate --reason "yearly"
    aisecops grant keys revoke --reason "a backup with the key was lost"
    """,
)
@click.argument("action", required=False, type=click.Choice(["show", "rotate", "revoke"]))
@click.option("--reason", default="", help="With 'rotate' and 'revoke': why; it stands in the log.")
def keys(*, action: str | None, reason: str) -> ExitCode:
    """Print the public keys for tool servers as JWKS, show them, or have another key sign.

    A tool server that has them verifies every grant by itself. 'show' says which key signs and which earlier ones still
    count. 'rotate' has a new key sign, and what the old one signed counts until it has ended, 305 seconds at most.
    'revoke' does the same and refuses at once what any earlier key signed: for a key that was stolen. The old private
    key is deleted. Tool servers that hold the keys need the new ones; those that follow them ask by themselves.
    """
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    if (action in ("rotate", "revoke")) != bool(reason):
        raise click.UsageError("'rotate' and 'revoke' need --reason, and nothing else takes it")
    with connect() as client:
        if action in ("rotate", "revoke"):
            return _rotated(client.rotate_grant_key(reason=reason, revoke=action == "revoke"))
        state = client.grant_key_state()
    found: dict[str, Any] = json.loads(state.jwks_json)
    if action == "show":
        show({**found, "problem": state.problem}, lambda target: _draw_keys(target, found))
    else:
        show(found, lambda _: click.echo(json.dumps(found, indent=1)))
        say("these keys are public; whoever changes them decides which calls a tool server takes for granted")
    if state.problem:
        say(f"no grant is signed here: {state.problem}")
    return ExitCode.OK


def _rotated(answer: RotateGrantKeyResponse) -> ExitCode:
    found: dict[str, Any] = json.loads(answer.jwks_json)
    document = {"number": answer.number, "logIndex": answer.log_index, **found}
    show(document, lambda target: _draw_keys(target, found))
    say(f"event {answer.log_index} introduces the new key")
    return ExitCode.OK


def _draw_keys(target: Console, found: Mapping[str, Any]) -> None:
    from aisecops_server.domain.log.grant_keys import GRACE_SECONDS  # noqa: PLC0415

    for key in found["keys"]:
        if (ended := key.get("retired_at")) is None:
            target.print(f"{key['kid']} signs")
        else:
            until = when(datetime.fromtimestamp(ended + GRACE_SECONDS, UTC).isoformat().removesuffix("+00:00"))
            target.print(f"{key['kid']} signs no more; what it signed counts until {until}")


def _draw(target: Console, found: Mapping[str, Any]) -> None:
    from aisecops_server.terminal.executions import grant_table  # noqa: PLC0415

    target.print(grant_table(target, found["grants"], when))
