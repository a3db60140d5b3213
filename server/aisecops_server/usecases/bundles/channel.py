"""Follows what a channel announces: which commit is wanted live, and whether the last word still counts.

Ordering rules: every check comes first; then it is in the log what counts from now on, then it is kept, and only then
is the commit wanted. What is refused is in the log once, and in the status for as long as it lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.bundles.announcement import (
    Announced,
    ChannelKey,
    Verifies,
    channel_branch,
    missing,
    read_announced,
    require_content,
    require_next,
    require_timely,
)
from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.bundles.channel_standing import ChannelStanding, ChannelState, standing_of
from aisecops_server.domain.errors import AisecopsError, BundleRejectedError, NotPermittedError, UnknownRevisionError
from aisecops_server.domain.events.event import control_event
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.announcements import AnnouncementSource, AnnouncementStore

_NS = 1_000_000_000
_SHOWN = 12
_EVENTS = {
    ChannelState.CURRENT: "channel.current",
    ChannelState.FROZEN: "channel.frozen",
    ChannelState.CLOSED: "channel.closed",
}


@dataclass(slots=True)
class Channel:
    """One channel whose word is required. ``grace_seconds`` is how long policy decides after its word ended."""

    name: str
    keys: Sequence[ChannelKey]
    grace_seconds: int
    source: AnnouncementSource
    store: AnnouncementStore
    verifies: Verifies
    log: EventLog
    clock: Clock
    ids: Ids
    _last: Announced | None = None
    _told: ChannelState = ChannelState.CURRENT
    _reported: str = ""
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        """Read what counted last.

        Raises:
            InvalidRequestError: the channel's name cannot announce.
            LogUnavailableError, IntegrityError: it cannot be known.
        """
        channel_branch(self.name)
        self._last = await self.store.announced(self.name)

    async def wanted(self) -> CommitId:
        """Return the commit that the channel announces, as the repository was fetched last.

        Raises:
            BundleRejectedError: what is announced does not count.
            RepositoryUnavailableError, LogUnavailableError, IntegrityError: it cannot be known.
        """
        async with self._busy:
            try:
                announced = await self._read()
            except BundleRejectedError as error:
                await self._refused(error)
                raise
            self._reported = ""
            return announced.announcement.commit

    async def require(self, commit_id: CommitId) -> None:
        """Let a commit become live, or decide for some, only as the one that is announced now.

        Raises:
            NotPermittedError: it is not, or the announcement ended.
            LogUnavailableError, IntegrityError: it cannot be known.
        """
        self._last = await self.store.announced(self.name)
        standing = self.standing()
        if standing.last is None or standing.last.announcement.commit != commit_id:
            raise _not_announced(f"{commit_id[:_SHOWN]} is not what the channel {self.name} announces", commit_id)
        if standing.state is not ChannelState.CURRENT:
            raise _not_announced(standing.problem, commit_id)

    def standing(self) -> ChannelStanding:
        """Return how the channel stands now."""
        return standing_of(
            self.name,
            self._last,
            known=frozenset(key.id for key in self.keys),
            now_seconds=self.clock.now_ns() // _NS,
            grace_seconds=self.grace_seconds,
        )

    def closed(self) -> str:
        """Return why nothing is allowed now, or an empty string."""
        standing = self.standing()
        return standing.problem if standing.state is ChannelState.CLOSED else ""

    async def note(self) -> None:
        """Put on record that the channel's word ended, that nothing is allowed any more, or that it counts again."""
        standing = self.standing()
        if standing.state is self._told:
            return
        with contextlib.suppress(AisecopsError):
            await self._record(_EVENTS[standing.state], _standing_details(standing))
            self._told = standing.state

    async def _read(self) -> Announced:
        content = await self.source.announcement(self.name)
        if content is None:
            raise missing(self.name)
        announced = read_announced(content, channel=self.name, keys=self.keys, verifies=self.verifies)
        self._last = await self.store.announced(self.name)
        require_next(announced, self._last)
        if self._last is None or announced.digest != self._last.digest:
            await self._accept(announced)
        return announced

    async def _accept(self, announced: Announced) -> None:
        found = announced.announcement
        require_timely(found, self.clock.now_ns() // _NS)
        try:
            tree = await self.source.tree(found.commit)
        except UnknownRevisionError as error:
            raise BundleRejectedError(
                f"the channel {self.name} announces {found.commit[:_SHOWN]}, which the repository does not have",
                hint="Push the commit; the last good policy stays live",
                revision=found.commit,
                why="unknown",
            ) from error
        require_content(found, tree)
        await self._record("announcement.accepted", _details(announced))
        advanced = await self.store.advance(announced)
        self._last = await self.store.announced(self.name)
        if not advanced:
            # Another control plane was faster: with the same, or with one that this must be held against.
            require_next(announced, self._last)

    async def _refused(self, error: BundleRejectedError) -> None:
        """Put on record what was refused, once for as long as it lasts."""
        cause = error.metadata().get("why") or error.message
        if self._reported == cause:
            return
        last = self._last.announcement if self._last else None
        details: dict[str, JsonValue] = {
            "channel": self.name,
            "problem": error.message,
            "cause": cause,
            "counter": last.counter if last else 0,
            "revision": last.commit if last else "",
        }
        with contextlib.suppress(AisecopsError):
            await self._record("announcement.refused", details)
            self._reported = cause

    async def _record(self, type: str, details: Mapping[str, JsonValue]) -> None:
        await self.log.append_event(control_event(type, details, id=self.ids.event_id(), now_ns=self.clock.now_ns()))


def _details(announced: Announced) -> dict[str, JsonValue]:
    found = announced.announcement
    return {
        "channel": found.channel,
        "revision": found.commit,
        "content": found.content,
        "counter": found.counter,
        "issued_at_seconds": found.issued_at_seconds,
        "expires_at_seconds": found.expires_at_seconds,
        "digest": announced.digest,
        "key": announced.key_id,
    }


def _standing_details(standing: ChannelStanding) -> dict[str, JsonValue]:
    last = standing.last.announcement if standing.last else None
    return {
        "channel": standing.channel,
        "problem": standing.problem,
        "counter": last.counter if last else 0,
        "revision": last.commit if last else "",
        "closes_at_seconds": standing.closes_at_seconds,
    }


def _not_announced(message: str, commit_id: CommitId) -> NotPermittedError:
    return NotPermittedError(
        message,
        hint="Whoever has a key of the channel announces it: 'aisecops policy announce', also to go back",
        revision=commit_id,
        why="not_announced",
    )
