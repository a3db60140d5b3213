"""Announces, signed, which commit a channel is to serve: in the number that comes after the last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aisecops_server.domain.bundles.announcement import (
    Announced,
    Announcement,
    ChannelKey,
    Verifies,
    channel_branch,
    content_of,
    read_announced,
    signed,
)
from aisecops_server.domain.bundles.bundle import PolicyTree
from aisecops_server.domain.errors import BundleRejectedError, InvalidRequestError
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.ports import Clock
from aisecops_server.ports.announcements import AnnouncementPlace

_HOUR = 3600
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class AnnounceCommand:
    """What to announce, and for how long. ``counter`` is 0 for the next one."""

    channel: str
    tree: PolicyTree
    hours: int
    counter: int = 0


@dataclass(frozen=True, slots=True)
class Announce:
    """Announces with ``key``; a last word of ``known`` keys counts as one of the channel."""

    place: AnnouncementPlace
    key: ChannelKey
    sign: Callable[[bytes], bytes]
    known: Sequence[ChannelKey]
    verifies: Verifies
    clock: Clock

    def __call__(self, command: AnnounceCommand) -> Announced:
        """Announce a commit.

        Raises:
            InvalidRequestError: the channel's name cannot announce, or the number was used.
            BundleRejectedError: whoever announced last is not known, and no number is given.
            ContendedError: somebody else announced meanwhile.
            RepositoryUnavailableError: the branch cannot be read or written.
        """
        branch = channel_branch(command.channel)
        counter = self._counter(command, self.place.newest(branch))
        now = self.clock.now_ns() // 1_000_000_000
        made = Announcement(
            channel=command.channel,
            commit=command.tree.commit,
            content=content_of(command.tree),
            counter=counter,
            issued_at_seconds=now,
            expires_at_seconds=now + command.hours * _HOUR,
        )
        content = signed(made, key=self.key, sign=self.sign)
        message = f"{command.channel} {counter}: {made.commit[:_SHOWN]}"
        self.place.publish(branch, content, message=message, at_seconds=now)
        return Announced(made, digest(made.body()), self.key.id)

    def _counter(self, command: AnnounceCommand, newest: bytes | None) -> int:
        if newest is None:
            return command.counter or 1
        try:
            # A number that nobody known signed is not counted on from: it could use all numbers up.
            last = read_announced(
                newest, channel=command.channel, keys=(self.key, *self.known), verifies=self.verifies
            ).announcement.counter
        except BundleRejectedError as error:
            if command.counter:
                return command.counter
            raise BundleRejectedError(
                error.message,
                hint="If another key of the channel signed it, give that with --known-key; if none did, find out who "
                "pushed it, and give a --counter above what 'aisecops bundle status' shows",
                why="unknown_last",
            ) from error
        if command.counter and command.counter <= last:
            raise InvalidRequestError(
                f"counter: {last} was announced already", hint=f"Give {last + 1}, or none", field="counter"
            )
        return command.counter or last + 1
