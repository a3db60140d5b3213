"""The commands of ``aisecops rollout``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, show_list, when
from aisecops_server.cli.progress import waiting

if TYPE_CHECKING:
    from aisecops_client.rollouts import Rollouts
    from google.protobuf.message import Message
    from rich.console import Console

_WATCH_SECONDS = 2.0
_reason = click.option("--reason", default="", help="Kept in the audit log.")


def _ask(question: Callable[[Rollouts], Message]) -> dict[str, Any]:
    from aisecops_client.rollouts import Rollouts  # noqa: PLC0415

    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        return to_json(question(Rollouts(client)))


@command(
    "start",
    examples="""
    aisecops rollout start main --reason "lower the payment limit"
    aisecops rollout start 4f2a91c --seconds 86400 --decisions 1000
    """,
)
@click.argument("revision", help="A commit, a branch or a tag.")
@click.option("--seconds", type=click.IntRange(0), default=0, help="Longer at each stage than the terms ask for.")
@click.option("--decisions", type=click.IntRange(0), default=0, help="More decisions at each stage than the terms.")
@_reason
def start(*, revision: str, seconds: int, decisions: int, reason: str) -> ExitCode:
    """Have a revision see live plans from now on; it decides none. REVISION is a commit, a branch or a tag.

    The revision is built, verified and probed first. What it would have decided is recorded beside what was decided,
    and is never told to an agent.
    """
    with waiting("building, verifying and probing"):
        found = _ask(lambda asked: asked.start(revision, reason=reason, seconds=seconds, decisions=decisions))
    return _shown(found, "aisecops rollout status --watch")


@command(
    "status",
    examples="""
    aisecops rollout status --watch
    aisecops rollout status -o json | jq .rollout.problems
    """,
)
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until the rollout is over.")
def status(*, watch: bool) -> ExitCode:
    """Show the rollout that is under way, or the last one: how the two revisions compare, and what stands against it.

    Exit code 3 when one is under way that may not be promoted yet.
    """
    import asyncio  # noqa: PLC0415

    found = _ask(lambda asked: asked.current()).get("rollout")
    while watch and found and _is_under_way(found):
        _shown(found)
        asyncio.run(asyncio.sleep(_WATCH_SECONDS))
        found = _ask(lambda asked: asked.current()).get("rollout")
    if found is None:
        show({"rollout": None}, lambda target: target.print("nothing was rolled out yet"))
        return ExitCode.OK
    _shown(found)
    return ExitCode.DENIED if found["problems"] else ExitCode.OK


@command("list", examples="aisecops rollout list --limit 5")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many.")
def list_rollouts(*, limit: int) -> ExitCode:
    """List the latest rollouts, newest first."""
    found = _ask(lambda asked: asked.recent(limit=limit))

    def draw(target: Console) -> None:
        from aisecops_server.terminal.rollouts import rollout_table  # noqa: PLC0415

        target.print(rollout_table(target, found["rollouts"], when))

    show_list(found, items="rollouts", draw=draw, empty="nothing was rolled out yet")
    return ExitCode.OK


@command(
    "canary",
    examples="""
    aisecops rollout canary --percent 5
    aisecops rollout canary --team payments --environment staging
    """,
)
@click.option("--percent", type=click.IntRange(0, 100), default=0, help="A share of all agents, by a stable hash.")
@click.option("--agent", "agents", multiple=True, help="An agent's id. May be given several times.")
@click.option("--team", "teams", multiple=True, help="An owner of agents. May be given several times.")
@click.option("--environment", "environments", multiple=True, help="Agents that act in no other environments.")
@_reason
def canary(
    *, percent: int, agents: tuple[str, ...], teams: tuple[str, ...], environments: tuple[str, ...], reason: str
) -> ExitCode:
    """Have the candidate decide for some agents: for those that any of the options chooses.

    Their decisions carry the candidate's revision. Given again, it chooses anew; who is in a share of 5 percent is in
    one of 20 percent as well.
    """
    from aisecops.v1.rollout_service_pb2 import RolloutSelector  # noqa: PLC0415

    selector = RolloutSelector(percent=percent, agents=agents, teams=teams, environments=environments)
    found = _ask(lambda asked: asked.canary(selector, reason=reason))
    return _shown(found, "aisecops rollout status --watch, then 'promote' or 'rollback'")


@command(
    "promote",
    examples="""
    aisecops rollout promote --reason "a day without a disagreement"
    aisecops rollout promote --force --reason "the payment limit is wrong for everybody until then"
    """,
)
@click.option("--force", is_flag=True, help="Against the terms; needs a reason, which is logged.")
@_reason
def promote(*, force: bool, reason: str) -> ExitCode:
    """Make the candidate live: the very bundle that was watched.

    Refused while it was watched for too short or on too few decisions, while it disagrees beyond what
    accepted-flips.yaml and gates.yaml let pass, or while it fails.
    """
    found = _ask(lambda asked: asked.promote(reason=reason, force=force))
    return _shown(found, "merge what is live now; 'aisecops rollout rollback' takes it back")


@command("rollback", examples='aisecops rollout rollback --reason "it blocked every refund"')
@_reason
def rollback(*, reason: str) -> ExitCode:
    """Take the candidate back, at once; after a promotion the revision before is live again."""
    return _shown(_ask(lambda asked: asked.roll_back(reason=reason)))


@command("abort", examples='aisecops rollout abort --reason "a better commit is there"')
@_reason
def abort(*, reason: str) -> ExitCode:
    """End the rollout that is under way; the live revision decides alone."""
    return _shown(_ask(lambda asked: asked.abort(reason=reason)))


def _shown(found: dict[str, Any], then: str = "") -> ExitCode:
    def draw(target: Console) -> None:
        from aisecops_server.terminal.rollouts import rollout_block  # noqa: PLC0415

        target.print(rollout_block(target, found, when))

    show({"rollout": found}, draw)
    if then:
        say(f"next: {then}")
    return ExitCode.OK


def _is_under_way(found: dict[str, Any]) -> bool:
    return str(found["stage"]).removeprefix("ROLLOUT_STAGE_") in ("SHADOW", "CANARY")
