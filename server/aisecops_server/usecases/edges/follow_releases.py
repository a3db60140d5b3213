"""At an edge: makes live what the centre released last, and nothing else.

Whatever goes wrong stands in the status, and the last good policy goes on deciding for as long as it may. Which policy
counts is changed at the centre: people cannot activate, roll back or vote at an edge.
"""

from __future__ import annotations

import contextlib
from typing import Never

from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.errors import AisecopsError, BundleRejectedError, NotPermittedError
from aisecops_server.ports.edges import FeedStore
from aisecops_server.usecases.bundles.activate import ActivateCommand, Order, PolicySwitch
from aisecops_server.usecases.bundles.live_policy import Served
from aisecops_server.usecases.bundles.sync import Resume
from aisecops_server.usecases.edges.edge_feed import EdgeFeed

ABOUT = "policy"
_FOLLOWER = Order(principal="edge", reason="released by the centre")


class FollowReleases:
    """Asks the centre which policy counts, and makes it live."""

    def __init__(self, switch: PolicySwitch, feed: EdgeFeed, store: FeedStore, resume: Resume) -> None:
        self._switch = switch
        self._feed = feed
        self._store = store
        self._resume = resume
        self._reported = ""

    async def __call__(self) -> BundleStatus:
        """Ask the centre now and activate what it released if that is not what is live.

        Raises:
            RepositoryUnavailableError: the centre cannot be reached, or does not let this edge in.
            BundleRejectedError: what it answers is refused, or not fit; the last good policy stays.
        """
        try:
            status = await self._followed()
        except AisecopsError as error:
            await self._store.tell(ABOUT, error.message)
            raise
        await self._store.tell(ABOUT, "")
        return status

    async def _followed(self) -> BundleStatus:
        switch = self._switch
        if switch.live.live is None:
            # What was live needs no centre.
            with contextlib.suppress(AisecopsError):
                await self._resume()
        await self._feed.keep_time()
        await self._fetch()
        return await switch.unbroken(self._activate())

    async def _fetch(self) -> None:
        try:
            await self._feed.fetch()
        except AisecopsError as error:
            self._switch.live.sync_problem = error.message
            if isinstance(error, BundleRejectedError):
                await self._refused(error)
            raise

    async def _refused(self, error: BundleRejectedError) -> None:
        """Put on record what the feed was refused for, once and not at every question."""
        if self._reported == error.message:
            return
        self._reported = error.message
        with contextlib.suppress(AisecopsError):
            await self._switch.record(
                "release.refused", {"problem": error.message, "revision": error.metadata().get("revision", "")}
            )

    async def _activate(self) -> BundleStatus:
        switch, live = self._switch, self._switch.live
        async with switch.lock:
            newest = self._feed.newest
            if newest is None:
                return live.status()
            live.synced(newest.commit.id, switch.clock.now_ns())
            self._reported = ""
            if live.live is None or live.live.engine.bundle.digest != newest.digest:
                try:
                    engine = await switch.engine(newest.commit.id)
                    await switch.make_live(Served(newest.commit, engine), _FOLLOWER)
                except AisecopsError as error:
                    await switch.reject(newest.commit.id, _FOLLOWER, error)
                    raise
            live.followed, live.problem = newest.commit.id, ""
        return live.status()


async def refuse_activation(_command: ActivateCommand) -> BundleStatus:
    """Refuse to make another revision live at an edge.

    Raises:
        NotPermittedError: always.
    """
    raise _at_the_centre("which policy counts is settled")


async def refuse_rollback(_order: Order) -> BundleStatus:
    """Refuse to go back to an earlier revision at an edge.

    Raises:
        NotPermittedError: always.
    """
    raise _at_the_centre("which policy counts is settled")


async def refuse_vote(_command: object) -> Never:
    """Refuse a vote at an edge.

    Raises:
        NotPermittedError: always.
    """
    raise _at_the_centre("requests for approval are answered")


def _at_the_centre(what: str) -> NotPermittedError:
    return NotPermittedError(
        f"{what} at the centre, and this is an edge", hint="Ask there", needs="the centre", why="edge"
    )
