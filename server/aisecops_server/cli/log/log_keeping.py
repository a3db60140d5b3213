"""The commands of ``aisecops log`` that erase what was written, and those that keep it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list, talk_console, when
from aisecops_server.cli.tree import Entry, group

if TYPE_CHECKING:
    from rich.console import Console

_HERE = "aisecops_server.cli.log.log_keeping"
_REASON = click.option("--reason", required=True, help="Why; it stands in the log for good.")

hold = group(
    "hold",
    help="Legal holds: what they name is never erased.",
    entries={
        "add": Entry(f"{_HERE}:add_hold", "Hold TRACES, or all that an agent did and will do."),
        "release": Entry(f"{_HERE}:release_hold", "Release a hold, or ask for it where policy wants two people."),
        "list": Entry(f"{_HERE}:list_holds", "List what is held, since when, by whom and why."),
    },
    examples="""
    aisecops log hold add 0af7651916cd43dd8448eb211c80319c --reason "case 17"
    aisecops log hold add --agent spiffe://corp.example/agent/support-assistant --reason "case 18"
    """,
)


@command("erase", examples='aisecops log erase 0af7651916cd43dd8448eb211c80319c --reason "request of the data subject"')
@click.argument("trace")
@_REASON
def erase(*, trace: str, reason: str) -> ExitCode:
    """Erase what agents and people wrote in TRACE.

    Arguments, intents, findings' texts and the documents that were decided on go, for good. Who did what by which
    policy and what came of it stays, and so does every proof. That it was erased, by whom and why, is an event of the
    log. Refused while a hold names the trace or something in it is unfinished.
    """
    from aisecops_client.retention import Retention  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        done = Retention(client).erase(trace, reason=reason)
    show(
        {"traceId": trace, **to_json(done)},
        lambda target: target.print(f"trace {trace} is erased up to event {done.through}", soft_wrap=True),
    )
    say(f"event {done.log_index} says so")
    if not done.overwritten:
        say("a reader kept the write-ahead log from being emptied; the next commit tries again")
    return ExitCode.OK


@command(
    "retain",
    examples="""
    aisecops log retain             what would be erased now, and what holds keep
    aisecops log retain --apply
    """,
)
@click.option("--apply", "applies", is_flag=True, help="Erase it.")
def retain(*, applies: bool) -> ExitCode:
    """Erase what data/retention.yaml does not keep any longer.

    Without --apply nothing is erased, and what would be is shown.
    """
    from aisecops_client.retention import Retention  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        calls = Retention(client)
        traces = [to_json(trace) for trace in calls.plan()]
        if applies and traces:
            talk = talk_console()
            told = track(
                calls.apply(), "erasing", total=len(traces), console=talk, transient=True, disable=not talk.is_terminal
            )
            traces = [to_json(trace) for trace in told]
    erased, held = sum(trace["erased"] for trace in traces), sum(bool(trace["heldBy"]) for trace in traces)
    show_list({"traces": traces}, items="traces", draw=lambda target: _draw(target, traces), empty="nothing is due")
    if traces:
        say(
            f"{erased} erased, {held} held"
            if applies
            else f"{len(traces) - held} due, {held} held; --apply erases them"
        )
    return ExitCode.OK if all(not trace["problem"] for trace in traces) else ExitCode.FAILURE


@command("add", examples='aisecops log hold add 0af7651916cd43dd8448eb211c80319c --reason "case 17"')
@click.argument("traces", nargs=-1)
@click.option("--agent", "agents", multiple=True, help="Hold all that this agent did and will do.")
@_REASON
def add_hold(*, traces: tuple[str, ...], agents: tuple[str, ...], reason: str) -> ExitCode:
    """Hold TRACES, or all that an agent did and will do: nothing of it is erased before it is released."""
    from aisecops_client.retention import Retention  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        added = Retention(client).hold(trace_ids=traces, agent_ids=agents, reason=reason)
    show(to_json(added), lambda target: target.print(f"{added.hold_id} holds", soft_wrap=True))
    return ExitCode.OK


@command("release", examples='aisecops log hold release hld-01 --reason "case 17 is closed"')
@click.argument("hold_id", metavar="HOLD")
@_REASON
def release_hold(*, hold_id: str, reason: str) -> ExitCode:
    """Release HOLD. Where policy wants two people for it, the first asks and another one releases."""
    from aisecops_client.retention import Retention  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = Retention(client).release(hold_id, reason=reason)
    told = "is released" if found.released_by else "holds until another person releases it too"
    show(to_json(found), lambda target: target.print(f"{hold_id} {told}", soft_wrap=True))
    return ExitCode.OK if found.released_by else ExitCode.ESCALATED


@command("list", examples="aisecops log hold list --all")
@click.option("--all", "released", is_flag=True, help="Also those that were released.")
def list_holds(*, released: bool) -> ExitCode:
    """List what is held, since when, by whom and why."""
    from aisecops_client.retention import Retention  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        found = to_json(Retention(client).holds(released=released))
    show_list(found, items="holds", draw=lambda target: _draw_holds(target, found["holds"]), empty="nothing is held")
    return ExitCode.OK


def _draw(target: Console, traces: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table("trace", "agent", "last", "class", "days", "", box=None)
    for trace in traces:
        state = "erased" if trace["erased"] else trace["problem"] or ", ".join(trace["heldBy"]) or "due"
        cells = (trace["traceId"], trace["agentId"], when(trace["lastAt"]), trace["class"], str(trace["days"]), state)
        drawn.add_row(*map(Text, cells))
    target.print(drawn)


def _draw_holds(target: Console, holds: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table("hold", "of", "since", "by", "why", "", box=None)
    for held in holds:
        subjects = [*held["traceIds"], *held["agentIds"]]
        of = subjects[0] if len(subjects) == 1 else f"{len(subjects)} {'traces' if held['traceIds'] else 'agents'}"
        asked = f"{held['askedBy']} wants it released" if held["askedBy"] else ""
        state = f"released by {held['releasedBy']}" if held["releasedBy"] else asked
        cells = (held["holdId"], of, when(held["addedAt"]), held["addedBy"], held["reason"], state)
        drawn.add_row(*map(Text, cells))
    target.print(drawn)
