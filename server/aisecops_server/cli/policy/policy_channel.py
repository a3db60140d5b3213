"""The commands of ``aisecops policy`` that announce which commit a channel is to serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecops_server.cli.exit_codes import ExitCode
from aisecops_server.cli.invocation import command
from aisecops_server.cli.output import say, show, when

if TYPE_CHECKING:
    from rich.console import Console

    from aisecops_server.domain.bundles.announcement import Announced, ChannelKey
    from aisecops_server.ports.announcements import AnnouncementPlace

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="A checkout of the policy repository. Default: here.",
)
_REMOTE = click.option("--remote", default="", help="The remote. Default: origin, or the checkout if it has none.")
_MOST_HOURS, _WEEK = 90 * 24, 7 * 24


@command(
    "announce",
    examples="""
    aisecops policy announce prod --key channel.pem
    aisecops policy announce prod 4f2a91c --key channel.pem
        to go back: a new word that names an older commit
    aisecops policy announce prod --again --key channel.pem
        the same commit for another week
    aisecops policy announce prod --key new.pem --known-key old.pub.pem
        the first one after another key announced
    """,
)
@click.argument("channel", help="The channel, as in the setting of that name.")
@click.argument("revision", default="", help="A commit, a branch or a tag of the checkout. Default: HEAD.")
@click.option("--again", is_flag=True, help="Announce the commit that is announced, anew. Takes no REVISION.")
@click.option("--key", "file", type=_FILE, required=True, help="The channel's private key, in a file of mode 600.")
@click.option(
    "--hours", type=click.IntRange(1, _MOST_HOURS), default=_WEEK, show_default=True, help="How long it counts."
)
@click.option("--counter", type=click.IntRange(min=1), default=None, help="Its number. Default: the last one and one.")
@click.option("--known-key", "known", type=_FILE, multiple=True, help="Public key of who announced last, if another.")
@_DIRECTORY
@_REMOTE
def announce(*, channel: str, revision: str, again: bool, **asked: Any) -> ExitCode:
    """Say, signed, that a commit is what CHANNEL is to serve, and push that to the branch channels/CHANNEL.

    A control plane with the setting channel_keys makes live only what its channel announces, by the highest number,
    while it counts. Push the commit first. Announce again before it ends, also when nothing changed.
    """
    from aisecops_server.adapters.git.announcing import AnnouncementBranch  # noqa: PLC0415
    from aisecops_server.adapters.git.checkout import Checkout  # noqa: PLC0415
    from aisecops_server.adapters.signing.channel_key import read_channel_key  # noqa: PLC0415
    from aisecops_server.adapters.signing.keys import verifies_ed25519  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415
    from aisecops_server.domain.bundles.announcement import ChannelKey, channel_branch  # noqa: PLC0415
    from aisecops_server.usecases.bundles.announce import Announce, AnnounceCommand  # noqa: PLC0415

    if again and revision:
        raise click.UsageError("--again announces the commit that is announced, and takes no REVISION")
    key = read_channel_key(asked["file"])
    checkout = Checkout(asked["directory"])
    place = AnnouncementBranch(asked["directory"], remote=asked["remote"])
    if again:
        last = _read(place, channel, (ChannelKey(key.public_raw), *_known(asked["known"])))
        tree = checkout.tree(last.announcement.commit)
    else:
        tree = checkout.tree(checkout.commit_id(revision or "HEAD"))
    made = Announce(
        place=place,
        key=ChannelKey(key.public_raw),
        sign=key.sign,
        known=_known(asked["known"]),
        verifies=verifies_ed25519,
        clock=SystemClock(),
    )(AnnounceCommand(channel, tree, asked["hours"], asked["counter"] or 0))
    _show(made)
    say(f"on {channel_branch(channel)} of {place.shown}")
    return ExitCode.OK


@command(
    "announced",
    examples="""
    aisecops policy announced prod --known-key channel.pub.pem
    aisecops policy announced prod --known-key channel.pub.pem -o json | jq .expiresAt
    """,
)
@click.argument("channel", help="The channel.")
@click.option("--known-key", "known", type=_FILE, multiple=True, required=True, help="A public key of the channel.")
@_DIRECTORY
@_REMOTE
def announced(*, channel: str, known: tuple[Path, ...], directory: Path, remote: str) -> ExitCode:
    """Show what CHANNEL announces, if a known key signed it. Exit code 3 when it ended."""
    from aisecops_server.adapters.git.announcing import AnnouncementBranch  # noqa: PLC0415
    from aisecops_server.adapters.system import SystemClock  # noqa: PLC0415

    found = _read(AnnouncementBranch(directory, remote=remote), channel, _known(known))
    _show(found)
    ended = SystemClock().now_ns() // 1_000_000_000 >= found.announcement.expires_at_seconds
    return ExitCode.DENIED if ended else ExitCode.OK


@command(
    "channel-key",
    examples="""
    aisecops policy channel-key channel.pem --make > channel.pub.pem
    aisecops policy channel-key channel.pem
    """,
)
@click.argument("file", type=_FILE, help="PEM file of a private key.")
@click.option("--make", is_flag=True, help="Make a new Ed25519 key in FILE, which must not exist.")
def channel_key(*, file: Path, make: bool) -> ExitCode:
    """Make a key that announces for channels, or print its public half.

    What is printed belongs into a file that the setting channel_keys of the control planes names. Keep FILE where
    whoever may change what is live, and nobody else, can use it: in the secrets of a workflow, on a token, in a safe.
    """
    from aisecops_server.adapters.signing.channel_key import make_channel_key, read_channel_key  # noqa: PLC0415
    from aisecops_server.domain.bundles.announcement import ChannelKey  # noqa: PLC0415

    own = make_channel_key(file) if make else read_channel_key(file)
    key_id = ChannelKey(own.public_raw).id
    show({"publicKey": own.public_pem, "keyId": key_id}, lambda _: click.echo(own.public_pem, nl=False))
    say(f"key id {key_id}")
    return ExitCode.OK


def _read(place: AnnouncementPlace, channel: str, keys: Sequence[ChannelKey]) -> Announced:
    from aisecops_server.adapters.signing.keys import verifies_ed25519  # noqa: PLC0415
    from aisecops_server.domain.bundles.announcement import channel_branch, missing, read_announced  # noqa: PLC0415

    content = place.newest(channel_branch(channel))
    if content is None:
        raise missing(channel)
    return read_announced(content, channel=channel, keys=keys, verifies=verifies_ed25519)


def _known(files: tuple[Path, ...]) -> tuple[ChannelKey, ...]:
    from aisecops_server.adapters.signing.pinned_key import read_pinned_key  # noqa: PLC0415
    from aisecops_server.domain.bundles.announcement import ChannelKey  # noqa: PLC0415

    return tuple(ChannelKey(read_pinned_key(file, field="known_key").raw) for file in files)


def _show(found: Announced) -> None:
    said = found.announcement
    ends = _time(said.expires_at_seconds)
    document = {
        "channel": said.channel,
        "commit": said.commit,
        "content": said.content,
        "counter": said.counter,
        "issuedAt": _time(said.issued_at_seconds),
        "expiresAt": ends,
        "keyId": found.key_id,
    }

    def draw(console: Console) -> None:
        console.print(
            f"{said.channel} announces {said.commit[:12]} as number {said.counter} until "
            f"{when(ends)}, key {found.key_id}",
            soft_wrap=True,
        )

    show(document, draw)


def _time(seconds: int) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
