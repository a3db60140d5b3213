"""Follows the rollout that replicas share: takes part in it, counts it from the log, and leaves it when it ends.

Ordering rules:

1. What the row says counts. It changes only together with the event that tells of it, so it is never ahead of the log
   nor behind it, and whoever moved it may die at any moment.
2. What is compared is counted from the log, in its order, up to an index; a tally that was counted less far never takes
   the place of one that was counted further. What no event tells is kept by each replica in a row of its own.
3. A replica that cannot ask the candidate goes on trying, and says so to the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aisecops_server.domain.errors import AisecopsError, BundleRejectedError
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.rollouts.rollout import Rollout, RolloutStage
from aisecops_server.domain.rollouts.rollout_tally import COMPARED, Tally
from aisecops_server.ports import PolicyEngine
from aisecops_server.ports.rollout import KnownRollout, SharedRollouts
from aisecops_server.usecases.bundles.activate import Activate, PolicySwitch
from aisecops_server.usecases.rollouts.rollout_companion import RolloutCompanion
from aisecops_server.usecases.rollouts.shadow import UnderWay

# How soon a replica follows what another one did, at the latest; what it decides by then is checked where it is stored.
FOLLOW_SECONDS = 1.0
_RETRY_NS = 5_000_000_000
_TELL_NS = 5_000_000_000
_logger = logging.getLogger(__name__)


class RolloutFollower(RolloutCompanion):
    """What a replica does of a rollout that another one may have begun. Without ``shared`` there is no other one."""

    def __init__(
        self,
        *,
        switch: PolicySwitch,
        activate: Activate,
        shared: SharedRollouts | None,
        follow_live: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(switch.live)
        self._switch = switch
        self._activate = activate
        self._shared = shared
        self._follow_live = follow_live
        # One change of the rollout at a time.
        self._busy = asyncio.Lock()
        self._counting = asyncio.Lock()
        self._seen: tuple[str, int] | None = None
        self._tried_at_ns = 0
        self._base_tried_at_ns = 0
        self._fetched_at_ns = 0
        self._shared_at_ns = 0
        self._shared_then: tuple[str, dict[str, JsonValue], str] | None = None

    async def follow(self) -> None:
        """Look how the rollout stands that replicas share, and take part in it.

        Raises:
            LogUnavailableError, IntegrityError: it cannot be known.
        """
        if self._shared is None:
            return
        async with self._busy:
            await self._look_up()
        # Apart from what moves it: taking it back never waits for the candidate's engine.
        under_way = self._under_way
        if under_way is not None:
            await self._join(under_way)
            await self._tell(under_way)

    async def _look_up(self) -> None:
        """Take up what other replicas did; the caller is the only one who changes the rollout here."""
        if self._shared is None:
            return
        known = await self._shared.known()
        seen = (known.rollout.id, known.rollout.step) if known else None
        if seen != self._seen:
            # First, so that who was decided for by a candidate that was promoted goes on with it.
            if known is not None:
                self._hold(known.rollout)
            if await self._live_followed():
                self._seen = seen
                self._is_let_go = known is None or not _may_decide(known.rollout)
        under_way = self._under_way
        if under_way is not None and (known is None or known.rollout.id != under_way.rollout.id):
            await self._left(under_way)
        if known is None or not known.rollout.stage.is_under_way:
            if self._under_way is not None:
                await self._left(self._under_way)
            self._is_doubted = False
            return
        self._take_up(known)
        if self._under_way is not None:
            await self._count(self._under_way)

    def _take_up(self, known: KnownRollout) -> None:
        under_way = self._under_way
        if under_way is None:
            self._begin(UnderWay(known.rollout, None, None, known.tally, Tally(), known.others, "", known.problems))
            return
        under_way.rollout, under_way.others, under_way.problems = known.rollout, known.others, known.problems
        self._move(under_way)

    async def _left(self, under_way: UnderWay) -> None:
        """Let go of a rollout that ended, and count it to its end."""
        self._leave_behind(under_way.rollout.id)
        await self._finish(under_way)

    async def _finish(self, under_way: UnderWay) -> None:
        if self._shared is None:
            return
        try:
            await self._count(under_way)
            await self._shared.save(under_way.rollout, under_way.tally)
            await self._shared.share(under_way.rollout.id, under_way.own, "")
        except AisecopsError as error:
            # It ended all the same; the others count the same from the log.
            _logger.warning("what was counted of a rollout was not saved: %s", error.diagnostics())

    async def _count(self, under_way: UnderWay) -> None:
        """Count what the log holds of a rollout behind what is counted already."""
        shared, tally = self._shared, under_way.tally
        if shared is None:
            return
        async with self._counting:
            while not under_way.is_counted:
                seen = await shared.seen(tally.counted_to)
                for stored in seen.events:
                    event = stored.event
                    details = event.details()
                    if details["rollout"] != under_way.rollout.id:
                        continue
                    if event.type != COMPARED:
                        under_way.is_counted, tally.counted_to = True, stored.index + 1
                        return
                    tally.count(details, decision_id=event.decision_id, trace_id=event.trace_id)
                tally.counted_to = max(tally.counted_to, seen.counted_to)
                if not seen.events:
                    return

    async def _live_followed(self) -> bool:
        """Serve what is live at all replicas; return whether it is served here now."""
        try:
            await self._follow_live()
        except AisecopsError as error:
            return await self._live_fetched(error)
        return True

    async def _live_fetched(self, error: AisecopsError) -> bool:
        now = self._switch.clock.monotonic_ns()
        if self._fetched_at_ns and now - self._fetched_at_ns < _RETRY_NS:
            return False
        self._fetched_at_ns = now
        try:
            # Another replica read the commit from the repository, and this one not yet.
            await self._switch.repository.fetch()
            await self._follow_live()
        except AisecopsError as again:
            told = "what another control plane made live is not served here: %s; before: %s"
            _logger.warning(told, again.diagnostics(), error.diagnostics())
            return False
        return True

    async def _join(self, under_way: UnderWay) -> None:
        """Have both engines ready, so that decisions of this replica are compared and its canary is decided for."""
        now = self._switch.clock.monotonic_ns()
        if not self._is_base(under_way) and (not under_way.problem or now - self._base_tried_at_ns >= _RETRY_NS):
            self._base_tried_at_ns = now
            await self._live_followed()
        live = self._switch.live.live
        if live is None or not self._is_base(under_way):
            under_way.base, under_way.problem = None, "a replica does not serve what the rollout compares with"
            return
        under_way.base = live.engine
        if under_way.candidate is not None:
            under_way.problem = ""
            return
        if under_way.problem and now - self._tried_at_ns < _RETRY_NS:
            return
        self._tried_at_ns = now
        try:
            under_way.candidate = await self._candidate(under_way.rollout)
            under_way.problem = ""
        except AisecopsError as error:
            if not under_way.problem:
                _logger.warning("this replica cannot ask the candidate of a rollout: %s", error.diagnostics())
            under_way.problem = f"a replica cannot ask the candidate: {error.message}"

    async def _candidate(self, rollout: Rollout) -> PolicyEngine:
        # Another replica may have read the commit from the repository, and this one not yet.
        await self._activate.resolve(rollout.candidate.revision)
        async with self._switch.lock:
            engine = await self._switch.engine(rollout.candidate.revision)
        if engine.bundle.digest != rollout.candidate.digest:
            raise BundleRejectedError("the candidate is built otherwise by this version", hint="Start a rollout anew")
        return engine

    async def _tell(self, under_way: UnderWay) -> None:
        """Tell the others what was counted here and why no part is taken, when that changed, and now and then."""
        if self._shared is None:
            return
        now = self._switch.clock.monotonic_ns()
        told = (under_way.rollout.id, under_way.own.as_json(), under_way.problem)
        if told == self._shared_then and (not under_way.problem or now - self._shared_at_ns < _TELL_NS):
            return
        await self._shared.share(under_way.rollout.id, under_way.own, under_way.problem)
        self._shared_then, self._shared_at_ns = told, now


def _may_decide(rollout: Rollout) -> bool:
    return rollout.stage.is_under_way or rollout.stage is RolloutStage.PROMOTED
