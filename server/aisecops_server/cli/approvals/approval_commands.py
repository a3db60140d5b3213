"""The commands of ``aisecops approvals``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list, talk_console, when

if TYPE_CHECKING:
    from aisecops.v1 import approval_pb2, approval_service_pb2
    from aisecops_client.client import Client
    from aisecops_client.votes import VoteSigner
    from rich.console import Console

KEY_VARIABLE = "AISECOPS_VOTE_KEY_FILE"
STATES = ("requested", "granted", "rejected", "withdrawn", "expired", "consumed")
_ID = "An approval's whole id, as 'approvals list' prints it."
_NOTE = "Kept with it in the audit log."
_KEY = f"PEM file of your own private key, to sign with. Default: {KEY_VARIABLE}."
_IDENTICAL = "Also answer the requests that wait and are identical to it, each by a vote of its own."
_NOBODY_WAITS = "nothing waits for you; 'aisecops approvals list --all' shows what was"


@command(
    "list",
    examples="""
    aisecops approvals list                        what waits for people now
    aisecops approvals list --all                  the newest of everything
    aisecops approvals list --state rejected --agent spiffe://corp.example/agent/support-assistant
    aisecops approvals list -o ndjson | jq -r .approvalId
    """,
)
@click.option("--all", "everything", is_flag=True, help="Also what is decided, the newest first.")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="Only those; may be repeated.")
@click.option("--agent", default="", help="Only requests of this agent.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Requests on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
def list_approvals(*, everything: bool, states: tuple[str, ...], agent: str, limit: int, page: str) -> ExitCode:
    """List what waits for people, the soonest to expire first."""
    from aisecops.v1 import approval_pb2  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    asked = states or (() if everything else ("requested",))
    numbers = [approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{state.upper()}") for state in asked]
    with connect() as client:
        found = to_json(client.approvals.page(states=numbers, agent_id=agent, page_size=limit, page_token=page))
    if asked == ("requested",):
        found["approvals"].sort(key=lambda approval: approval["expiresAt"])

    def draw(target: Console) -> None:
        from aisecops_server.terminal.approvals import inbox  # noqa: PLC0415

        target.print(inbox(target, found["approvals"], _now()))

    empty = _NOBODY_WAITS if asked == ("requested",) and not agent else "no request matches; drop a filter"
    show_list(found, items="approvals", draw=draw, empty=empty)
    if found["nextPageToken"]:
        say(f"more: --page {found['nextPageToken']}")
    return ExitCode.OK


@command(
    "show",
    examples="""
    aisecops approvals show apr-0199f2c4a1b7
    aisecops approvals show apr-0199f2c4a1b7 --statement   exactly the bytes that a vote is about
    aisecops approvals show apr-0199f2c4a1b7 -o json | jq -r .approval.state
    """,
)
@click.argument("approval", help=_ID)
@click.option("--statement", is_flag=True, help="Print only what a vote is about, byte for byte.")
def show_approval(*, approval: str, statement: bool) -> ExitCode:
    """Show exactly what would run, and why people are asked.

    Arguments are shown as they would be sent to the tool; characters that steer a terminal or hide from the eye
    stand as their escapes.
    """
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        shown = client.approvals.show(approval)
    if statement:
        click.echo(shown.statement_json)
        return ExitCode.OK
    show(to_json(shown), lambda target: _draw(target, shown))
    return ExitCode.OK


@command(
    "approve",
    examples="""
    aisecops approvals approve apr-0199f2c4a1b7
    aisecops approvals approve apr-0199f2c4a1b7 --note "checked with the carrier"
    aisecops approvals approve apr-0199f2c4a1b7 --key ~/.keys/ada.pem   signed by you, not only on your behalf
    aisecops approvals approve apr-0199f2c4a1b7 --identical             and all that ask for the very same
    aisecops approvals approve apr-0199f2c4a1b7 --yes -o json           no question; for scripts that asked already
    """,
)
@click.argument("approval", help=_ID)
@click.option("--identical", is_flag=True, help=_IDENTICAL)
@click.option("--note", default="", help=_NOTE)
@click.option("--key", envvar=KEY_VARIABLE, type=click.Path(dir_okay=False), help=_KEY)
@click.option("--yes", is_flag=True, help="Do not ask; you have seen what would run.")
def approve(*, approval: str, identical: bool, note: str, key: str | None, yes: bool) -> ExitCode:
    """Agree to one plan, once.

    Shows what would run and asks. Who votes is who your credential proves: not the one who asks, not one who answers
    for the agent, and nobody twice. Exit code: 0 when it is granted, 4 when more people must agree.

    With --identical the same answer is given to every request that waits and asks for the very same; those that come
    in meanwhile are not among them. Exit code then: 3 when one of the votes does not count.
    """
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    with connect() as client:
        shown = _shown(client, approval, identical=identical)
        if not yes:
            _require_consent(shown)
        return _answered(client, shown, "APPROVE", note=note, key=key)


@command(
    "deny",
    examples="""
    aisecops approvals deny apr-0199f2c4a1b7 --note "no ticket for this refund"
    aisecops approvals deny apr-0199f2c4a1b7 --identical --note "stop asking"   and all that ask for the very same
    """,
)
@click.argument("approval", help=_ID)
@click.option("--identical", is_flag=True, help=_IDENTICAL)
@click.option("--note", default="", help=_NOTE)
@click.option("--key", envvar=KEY_VARIABLE, type=click.Path(dir_okay=False), help=_KEY)
def deny(*, approval: str, identical: bool, note: str, key: str | None) -> ExitCode:
    """Reject a request; one denial ends it, and the agent is told your note.

    Exit code with --identical: 3 when one of the votes does not count.
    """
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    with connect() as client:
        return _answered(client, _shown(client, approval, identical=identical), "DENY", note=note, key=key)


@command("withdraw", examples='aisecops approvals withdraw apr-0199f2c4a1b7 --note "the agent is misbehaving"')
@click.argument("approval", help=_ID)
@click.option("--note", default="", help=_NOTE)
@click.option("--agent", default="", help="Ask as this agent, with a token of the local issuer.")
def withdraw(*, approval: str, note: str, agent: str) -> ExitCode:
    """Take a request back, also one that was granted and not used yet."""
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    with connect(agent=agent) as client:
        _told(client.approvals.withdraw(approval, note=note))
    return ExitCode.OK


@command(
    "wait",
    examples="""
    aisecops approvals wait apr-0199f2c4a1b7 && echo granted
    aisecops approvals wait apr-0199f2c4a1b7 --seconds 60
    """,
)
@click.argument("approval", help=_ID)
@click.option("--seconds", type=click.FloatRange(min=0), default=900.0, show_default=True, help="How long at most.")
@click.option("--agent", default="", help="Ask as this agent, with a token of the local issuer.")
def wait(*, approval: str, seconds: float, agent: str) -> ExitCode:
    """Wait until people have decided.

    Exit code: 0 granted, 3 not granted, 4 nobody has decided in time.
    """
    from aisecops_server.cli.connection import connect  # noqa: PLC0415

    with connect(agent=agent) as client:
        decided = client.approvals.wait(approval, seconds=seconds)
    _told(decided)
    return _code(decided)


@command(
    "key",
    examples="""
    aisecops approvals key ada.pem --make   a new key; keep the file to yourself
    aisecops approvals key ada.pem          its public half, for data/people.yaml
    """,
)
@click.argument("file", type=click.Path(dir_okay=False), help="PEM file of a private key.")
@click.option("--make", is_flag=True, help="Make a new Ed25519 key in FILE, which must not exist.")
def key(*, file: str, make: bool) -> ExitCode:
    """Make a key of your own to sign votes with, or print its public half.

    What is printed belongs under your name in data/people.yaml of the policy repository. Needs no server.
    """
    from aisecops_server.adapters.signing.voter_key import make_voter_key, read_voter_key  # noqa: PLC0415

    own = make_voter_key(Path(file)) if make else read_voter_key(Path(file))
    document = {"publicKey": dict(own.public_key), "keyId": own.key_id}
    members = ", ".join(f"{name}: {value}" for name, value in own.public_key.items())
    show(document, lambda target: target.print(f"- {{{members}}}", soft_wrap=True))
    say(f"key id {own.key_id}")
    return ExitCode.OK


@command(
    "rotate-key",
    examples="""
    aisecops approvals rotate-key --reason "yearly"
    aisecops approvals rotate-key --reason "a backup was lost" -o json | jq -r .current
    """,
)
@click.option("--reason", required=True, help="Why, for the log.")
def rotate_key(*, reason: str) -> ExitCode:
    """Replace the key with which the control plane attests votes, while it does not run.

    Requests that are open go on: votes of before keep counting, by the old key's public half. The old private key is
    destroyed, and what it would sign from now on counts for nothing. The log tells of it, signed by both keys.
    """
    import asyncio  # noqa: PLC0415

    from aisecops_server.bootstrap.keys import rotate_vote_key  # noqa: PLC0415
    from aisecops_server.cli.configuration import tenant_settings  # noqa: PLC0415

    done = asyncio.run(rotate_vote_key(tenant_settings(), reason=reason))
    document = {"retired": done.retired, "current": done.current, "retiredAtSeconds": done.at_seconds}
    show(document, lambda target: target.print(f"{done.current} attests votes in the place of {done.retired}"))
    say("start the control plane again; open requests for approval go on")
    return ExitCode.OK


def _shown(client: Client, approval: str, *, identical: bool) -> list[approval_service_pb2.GetApprovalResponse]:
    """Return a request and, if that is wished, all that wait and are identical to it now."""
    first = client.approvals.show(approval)
    others = first.identical if identical else []
    return [first, *(client.approvals.show(other.approval_id) for other in others)]


def _answered(
    client: Client,
    shown: Sequence[approval_service_pb2.GetApprovalResponse],
    choice: str,
    *,
    note: str,
    key: str | None,
) -> ExitCode:
    from aisecops.v1 import approval_pb2  # noqa: PLC0415

    from aisecops_server.adapters.system import RandomIds  # noqa: PLC0415
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415

    answered: Sequence[Mapping[str, Any]]
    given, ids, signer, now = approval_pb2.Choice.Value(f"CHOICE_{choice}"), RandomIds(), _signer(key), int(_now())
    if len(shown) == 1:
        approval = client.approvals.vote(
            shown[0], given, note=note, signer=signer, at_seconds=now, token_id=ids.nonce()
        )
        answered = [{"approval": to_json(approval), "reason": "", "message": ""}]
    else:
        tokens = [ids.nonce() for _ in shown]
        told = client.approvals.vote_together(shown, given, note=note, signer=signer, at_seconds=now, token_ids=tokens)
        answered = to_json(told)["answered"]

    def draw(target: Console) -> None:
        from aisecops_server.terminal.approvals import answers  # noqa: PLC0415

        target.print(answers(target, answered, _now()))

    show({"approval": answered[0]["approval"], "answered": answered}, draw)
    if any(one["reason"] for one in answered):
        return ExitCode.DENIED
    waits = any(one["approval"]["state"] == "APPROVAL_STATE_REQUESTED" for one in answered)
    return ExitCode.ESCALATED if waits else ExitCode.OK


def _signer(key: str | None) -> VoteSigner | None:
    if not key:
        return None
    from aisecops_client.votes import VoteSigner  # noqa: PLC0415

    from aisecops_server.adapters.signing.voter_key import read_voter_key  # noqa: PLC0415

    own = read_voter_key(Path(key))
    return VoteSigner(own.algorithm, own.key_id, own.sign)


def _require_waiting(shown: approval_service_pb2.GetApprovalResponse) -> None:
    """Ask nobody for an answer that no longer counts."""
    from aisecops.v1 import approval_pb2  # noqa: PLC0415

    from aisecops_server.domain.errors import ApprovalNotUsableError  # noqa: PLC0415

    state = approval_pb2.ApprovalState.Name(shown.approval.state).removeprefix("APPROVAL_STATE_").lower()
    if shown.approval.state != approval_pb2.APPROVAL_STATE_REQUESTED:
        hint = "It takes no answer any more; 'aisecops approvals list' shows what waits"
        raise ApprovalNotUsableError(f"the request is {state} already", hint=hint, why=state)


def _require_consent(shown: Sequence[approval_service_pb2.GetApprovalResponse]) -> None:
    """Show what would run and ask; whoever cannot be asked has not agreed."""
    from aisecops_server.terminal.approvals import also, effect  # noqa: PLC0415

    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: look with 'approvals show', then give --yes")
    first, *others = shown
    _draw(talk_console(), first)
    _require_waiting(first)
    if others:
        talk_console().print(also([_statement(other) for other in others]))
    if not click.confirm(effect(_statement(first), times=len(shown)), default=False, err=True):
        raise click.Abort


def _told(approval: approval_pb2.Approval) -> None:
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415

    document = to_json(approval)

    def draw(target: Console) -> None:
        from aisecops_server.terminal.approvals import one_line  # noqa: PLC0415

        target.print(one_line(target, document, _now()))

    show({"approval": document}, draw)


def _code(approval: approval_pb2.Approval) -> ExitCode:
    from aisecops.v1 import approval_pb2  # noqa: PLC0415

    name = approval_pb2.ApprovalState.Name(approval.state).removeprefix("APPROVAL_STATE_")
    return {"GRANTED": ExitCode.OK, "REQUESTED": ExitCode.ESCALATED}.get(name, ExitCode.DENIED)


def _draw(target: Console, shown: approval_service_pb2.GetApprovalResponse) -> None:
    from aisecops_server.cli.connection import to_json  # noqa: PLC0415
    from aisecops_server.terminal.approvals import approval_block  # noqa: PLC0415

    past = to_json(shown)["pastAnswers"]
    block = approval_block(target, to_json(shown.approval), _statement(shown), now=_now(), when=when, past=past)
    target.print(block)


def _statement(shown: approval_service_pb2.GetApprovalResponse) -> Mapping[str, Any]:
    from aisecops_client.votes import statement_digest  # noqa: PLC0415

    # What is drawn is what a vote is about, so it is read from those bytes and from nothing else.
    statement_digest(shown)
    found: Mapping[str, Any] = json.loads(shown.statement_json)
    return found


def _now() -> float:
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    return SystemClock().now_ns() / 1e9
