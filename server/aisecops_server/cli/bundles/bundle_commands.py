"""The commands of ``aisecops bundle``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import show, show_list, when
from aisecops_server.cli.policy.policy_history import changed_files
from aisecops_server.cli.progress import waiting

if TYPE_CHECKING:
    from aisecops_client.client import Client
    from google.protobuf.message import Message
    from rich.console import Console

_MADE_LIVE = "building, verifying and probing"
_BEFORE = "The older revision; without it the commit below AFTER."
_AFTER = "The newer revision; without it the head of the followed branch."


def _ask(question: Callable[[Client], Message]) -> dict[str, Any]:
    from aisecops_server.cli.connection import connect, to_json  # noqa: PLC0415

    with connect() as client:
        return to_json(question(client))


@command("status", examples="aisecops bundle status -o json | jq -r .status.live.commit")
def status() -> ExitCode:
    """Say what is live and what went wrong last.

    Exit code 3 when the head of the followed branch is not live.
    """
    return _status(_ask(lambda client: client.bundle_status()))


@command("list", examples="aisecops bundle list --limit 10")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Commits on a page.")
@click.option("--page", default="", help="The nextPageToken of the page before.")
def list_revisions(*, limit: int, page: str) -> ExitCode:
    """List the commits of the policy repository, newest first."""
    found = _ask(lambda client: client.revisions(page_size=limit, page_token=page))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.lists import revision_table  # noqa: PLC0415

        console.print(revision_table(found["revisions"], when))

    show_list(found, items="revisions", draw=draw, empty="the policy repository has no commits")
    return ExitCode.OK


@command("show", examples="aisecops bundle show main")
@click.argument("revision", help="A commit, a branch or a tag.")
def show_revision(*, revision: str) -> ExitCode:
    """Show one revision and its rules. REVISION is a commit, a branch or a tag."""
    found = _ask(lambda client: client.revision(revision))

    def draw(console: Console) -> None:
        from aisecops_server.terminal.revisions import revision_block  # noqa: PLC0415

        console.print(revision_block(console, found, when))

    show(found, draw)
    return ExitCode.OK


@command(
    "diff",
    examples="""
    aisecops bundle diff                       the newest commit against the one below it
    aisecops bundle diff 4f2a91c main
    aisecops bundle diff 4f2a91c main -o json | jq -r .files[].path
    """,
)
@click.argument("before", default="", help=_BEFORE)
@click.argument("after", default="", help=_AFTER)
def diff(*, before: str, after: str) -> ExitCode:
    """Show what changed in the policy between two revisions.

    Reads the policy repository directly and needs no control plane. AFTER is the head of the followed branch
    when it is not given, BEFORE the commit below AFTER. Exit code 3 when anything differs.
    """
    files = changed_files(before, after)

    def draw(console: Console) -> None:
        from aisecops_server.terminal.revisions import diff_block  # noqa: PLC0415

        console.print(diff_block(files))

    document = {"files": [{"path": path, "diff": text} for path, text in files.items()]}
    show_list(document, items="files", draw=draw, empty="nothing differs")
    return ExitCode.DENIED if files else ExitCode.OK


@command("sync", examples="aisecops bundle sync")
def sync() -> ExitCode:
    """Read the policy repository now and activate the head of the followed branch if it changed."""
    with waiting(_MADE_LIVE):
        found = _ask(lambda client: client.sync())
    return _status(found)


@command("activate", examples='aisecops bundle activate 4f2a91c --reason "lower the payment limit"')
@click.argument("revision", help="A commit, a branch or a tag.")
@click.option("--reason", default="", help="Kept in the audit log.")
def activate(*, revision: str, reason: str) -> ExitCode:
    """Make a commit live. REVISION is a commit, a branch or a tag.

    The revision is built, verified and probed first; on any failure the live one stays.
    """
    with waiting(_MADE_LIVE):
        found = _ask(lambda client: client.activate(revision, reason=reason))
    _status(found)
    return ExitCode.OK


@command("rollback", examples='aisecops bundle rollback --reason "it blocked every refund"')
@click.option("--reason", default="", help="Kept in the audit log.")
def rollback(*, reason: str) -> ExitCode:
    """Make the previous revision live again, at once."""
    _status(_ask(lambda client: client.rollback(reason=reason)))
    return ExitCode.OK


def _status(found: dict[str, Any]) -> ExitCode:
    def draw(console: Console) -> None:
        from aisecops_server.terminal.revisions import status_block  # noqa: PLC0415

        console.print(status_block(found, when))

    show({"status": found}, draw)
    live = found.get("live") or {}
    behind = bool(found.get("problem")) or (found.get("wanted") and found["wanted"] != live.get("commit"))
    return ExitCode.DENIED if behind else ExitCode.OK
