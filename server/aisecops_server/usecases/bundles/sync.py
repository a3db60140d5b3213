"""Follows the policy repository's branch: reads it, and makes a new head live when it descends from the last one.

Where a channel's word is required, the commit that it announces is wanted in the place of the branch's head.

Never activates rewritten history, never undoes what a person activated or rolled back, and never ends: whatever goes
wrong stands in the status, and the last good revision goes on deciding.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from aisecops_server.domain.bundles.bundle import Activated, Commit, CommitId
from aisecops_server.domain.bundles.bundle_status import BundleStatus
from aisecops_server.domain.errors import AisecopsError, BundleRejectedError
from aisecops_server.usecases.bundles.activate import ActivateCommand, Order, PolicySwitch
from aisecops_server.usecases.bundles.live_policy import Served

FOLLOWER = Order(principal="control-plane", reason="head of the followed branch")
_JITTER = 0.2
_logger = logging.getLogger(__name__)


class Resume:
    """After a start, serves again what was live, without asking the remote."""

    def __init__(self, switch: PolicySwitch) -> None:
        self._switch = switch

    async def __call__(self) -> BundleStatus:
        """Make live what was live last; nothing happens before the first activation or when something is live.

        Raises:
            IntegrityError, LogUnavailableError: what was live cannot be known.
            BundleRejectedError, EngineUnavailableError: it can no longer be served; nothing is live.
        """
        return await self._switch.unbroken(self._resume())

    async def follow(self) -> None:
        """Make live what another control plane on the same store made live since, which the log has from there.

        Raises:
            IntegrityError, LogUnavailableError: what is live there cannot be known.
            BundleRejectedError, EngineUnavailableError: it cannot be served here; what was live stays so.
        """
        await self._switch.unbroken(self._follow())

    async def _follow(self) -> None:
        switch = self._switch
        async with switch.lock:
            saved = await switch.store.load()
            if saved is None or saved == switch.remembered or switch.live.live is None:
                return
            live, previous = saved
            if live.revision != switch.live.live.commit.id:
                switch.live.flip(await self._served(live))
                switch.live.followed = live.revision
                if previous is not None:
                    await self._restore_previous(previous, live.revision)
                await switch.keep_warm()
            switch.remembered = saved

    async def _resume(self) -> BundleStatus:
        switch = self._switch
        async with switch.lock:
            if switch.live.live is None:
                try:
                    saved = await switch.store.load()
                    if saved is not None:
                        await self._restore(*saved)
                except AisecopsError as error:
                    switch.live.problem = f"what was live cannot be served again: {error.message}"
                    raise
        return switch.live.status()

    async def _restore(self, live: Activated, previous: Activated | None) -> None:
        switch = self._switch
        served = await self._served(live)
        if served.engine.bundle.digest == live.digest:
            switch.live.flip(served)
        else:
            # The product's own part of the bundle changed since; the log says so before it decides.
            await switch.make_live(served, Order("control-plane", "rebuilt by another version after a restart"))
        switch.live.followed = live.revision
        if previous is not None:
            await self._restore_previous(previous, live.revision)
        await switch.remember()

    async def _restore_previous(self, previous: Activated, live: CommitId) -> None:
        switch = self._switch
        try:
            switch.live.restore_previous(await self._served(previous))
            if await switch.repository.is_descendant(previous.revision, of=live):
                # It was rolled back from: its head is dealt with.
                switch.live.followed = previous.revision
        except AisecopsError as error:
            switch.live.problem = f"the previous revision is not ready: {error.message}"

    async def _served(self, activated: Activated) -> Served:
        engine = await self._switch.engine(activated.revision)
        commit = Commit(activated.revision, author="", summary="", committed_at_seconds=0)
        with contextlib.suppress(AisecopsError):
            commit = await self._switch.repository.commit(activated.revision)
        return Served(commit, engine)


class Sync:
    """Reads the repository and makes a changed head live."""

    def __init__(
        self,
        switch: PolicySwitch,
        *,
        activate: Callable[[ActivateCommand], Awaitable[BundleStatus]],
        resume: Resume,
    ) -> None:
        self._switch = switch
        self._activate = activate
        self._resume = resume
        # One after the other: what was read last is what is told and made live, and not what took longer.
        self._turns = asyncio.Lock()
        self._reported: tuple[CommitId, CommitId] | None = None
        self._rewritten: BundleRejectedError | None = None

    async def __call__(self) -> BundleStatus:
        """Read the repository now and activate the head of the followed branch if it changed.

        Raises:
            RepositoryUnavailableError: the repository cannot be read.
            BundleRejectedError: the head is not fit, history was rewritten, or the channel's word does not count.
        """
        async with self._turns:
            return await self._sync()

    async def _sync(self) -> BundleStatus:
        live = self._switch.live
        if live.live is None:
            # What was live needs no remote; if it does need what only the remote has, it is tried again below.
            with contextlib.suppress(AisecopsError):
                await self._resume()
        head = await self._head()
        if live.live is None:
            await self._resume()
        await self._resume.follow()
        if self._is_dealt_with(head):
            live.problem = ""
            return live.status()
        await self._require_descent(head)
        self._require_untried(head)
        return await self._activate(ActivateCommand(head, FOLLOWER))

    async def _head(self) -> CommitId:
        live, repository, channel = self._switch.live, self._switch.repository, self._switch.channel
        try:
            await repository.fetch()
            head = await (channel.wanted() if channel else repository.head())
        except AisecopsError as error:
            live.sync_problem = error.message
            raise
        finally:
            if channel is not None:
                await channel.note()
        live.synced(head, self._switch.clock.now_ns())
        return head

    def _is_dealt_with(self, head: CommitId) -> bool:
        live = self._switch.live
        if live.live is None:
            return False
        # A channel's word holds until its next one, whatever was live in between.
        return head == (live.followed if self._switch.channel is None else live.live.commit.id)

    async def _require_descent(self, head: CommitId) -> None:
        live, followed = self._switch.live, self._switch.live.followed
        if self._switch.channel is not None:
            # Its number says what comes after what; a higher one may name an older commit.
            return
        if not followed or await self._descends(head, followed):
            return
        error = BundleRejectedError(
            f"history was rewritten: {head[:12]} does not descend from {followed[:12]}, which was followed last",
            hint=f"If that is meant, run 'aisecops bundle activate {head}'",
            revision=head,
            followed=followed,
        )
        if self._reported != (head, followed):
            self._reported, self._rewritten = (head, followed), error
            await self._switch.reject(head, FOLLOWER, error)
        live.problem = error.message
        raise error

    def _require_untried(self, head: CommitId) -> None:
        """Refuse at once what was found unfit before: the same commit has the same content."""
        known = self._switch.live.rejection(head)
        if isinstance(known, BundleRejectedError) and known is not self._rewritten:
            self._switch.live.problem = known.message
            raise known

    async def _descends(self, head: CommitId, followed: CommitId) -> bool:
        try:
            return await self._switch.repository.is_descendant(head, of=followed)
        except AisecopsError:
            return False


class Bell:
    """Ends a pause early: somebody says that there may be something new. However often, it is looked once."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """End the pause, or the next one."""
        self._rung.set()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it rings."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()


class Poller:
    """Runs ``sync`` again and again, each time after a pause of about ``interval_seconds``; ``what`` is synced."""

    def __init__(
        self,
        sync: Callable[[], Awaitable[BundleStatus]],
        *,
        interval_seconds: float,
        pause: Callable[[float], Awaitable[None]] | None = None,
        chance: Callable[[], float] = random.random,
        what: str = "policy",
    ) -> None:
        self._sync = sync
        self._interval_seconds = interval_seconds
        self._bell = Bell()
        self._pause = pause or self._bell.pause
        self._chance = chance
        self._what = what
        self._told = ""

    def ring(self) -> None:
        """Say that there may be something new, so that it is read now."""
        self._bell.ring()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._once()
            await self._pause(self._interval_seconds * (1 + _JITTER * (2 * self._chance() - 1)))

    async def _once(self) -> None:
        try:
            await self._sync()
        except AisecopsError as error:
            # Said once: a night of the same line every few seconds would hide what else happened in it.
            if self._told != error.diagnostics():
                _logger.warning("%s was not synced: %s", self._what, error.diagnostics())
            self._told = error.diagnostics()
        except Exception:
            # A poller that ended would leave policy silently stale.
            _logger.exception("%s was not synced", self._what)
        else:
            if self._told:
                _logger.info("%s is synced again", self._what)
            self._told = ""
