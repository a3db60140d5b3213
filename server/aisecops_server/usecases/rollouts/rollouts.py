"""Rolls a revision out: shadow, canary, promotion, and the ways back. Each step says who wanted it and why.

Ordering rules:

1. One rollout at a time, and one change of it at a time. Every change is in the log before it takes effect.
2. The pointer that decisions read moves in one step; a decision keeps the engine that it took.
3. What is promoted is the very bundle that was watched, by digest, through ``activate`` and in no other way.
4. When something else becomes live, the rollout ends: it compared with what is no longer there.
5. A candidate that fails or is too slow is taken back by itself, from a shadow as from a canary.
6. Where replicas share it, the event, the row that they follow and what becomes live with it are stored together, and
   only from the step that was known here: who comes second is told to look again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aisecops_server.domain.bundles.bundle import Activated
from aisecops_server.domain.errors import (
    AisecopsError,
    ContendedError,
    NoLiveRevisionError,
    RolloutRefusedError,
)
from aisecops_server.domain.events.event import Event
from aisecops_server.domain.policy.accepted_flips import judged
from aisecops_server.domain.policy.policy_check import Level
from aisecops_server.domain.rollouts.rollout import Moved, Rollout, RolloutStage, Selector, Terms
from aisecops_server.domain.rollouts.rollout_changes import MadeLive, MoveRollout
from aisecops_server.domain.rollouts.rollout_tally import MOST_FLIPS, Tally, step_details
from aisecops_server.ports import PolicyEngine
from aisecops_server.ports.rollout import RolloutGates, RolloutStore, SharedRollouts
from aisecops_server.usecases.bundles.activate import Activate, ActivateCommand, Order, PolicySwitch, Rollback
from aisecops_server.usecases.bundles.live_policy import Served
from aisecops_server.usecases.log.rounds import Rounds
from aisecops_server.usecases.rollouts.follow_rollout import FOLLOW_SECONDS, RolloutFollower
from aisecops_server.usecases.rollouts.shadow import Sample, Shadow, UnderWay

CONTROL_PLANE = "control-plane"
SAVE_NS = 5_000_000_000
_NS = 1_000_000_000
_PERCENT = 100
_ENDS = {
    RolloutStage.PROMOTED: "rollout.promoted",
    RolloutStage.ROLLED_BACK: "rollout.rolled_back",
    RolloutStage.ABORTED: "rollout.aborted",
}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StartCommand:
    """A commit id, branch or tag to watch beside the live one; time and decisions may only be more than the terms'."""

    revision: str
    order: Order
    seconds: int = 0
    decisions: int = 0


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """A rollout with what was seen of it, and what stands against its promotion now."""

    rollout: Rollout
    tally: Tally
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Both:
    """Stores what becomes live together with the step of a rollout by which it does, or neither."""

    switch: PolicySwitch
    event: Event
    step: MoveRollout
    stored: Callable[[Rollout], None]
    is_stored: bool = False

    async def __call__(self, event: Event, made_live: MadeLive) -> None:
        await self.switch.record_change((event, self.event), replace(self.step, made_live=made_live))
        self.is_stored = True
        # Before it is live here: somebody else may take it back at once.
        self.stored(self.step.rollout)


class Rollouts(RolloutFollower):
    """Changes the rollout that is under way, as people say and as what is seen of it asks for."""

    def __init__(
        self,
        *,
        switch: PolicySwitch,
        activate: Activate,
        roll_back: Rollback,
        follow_live: Callable[[], Awaitable[None]],
        store: RolloutStore,
        gates: RolloutGates,
        shadow: Shadow,
        confirm: Callable[[str, Order], Awaitable[None]],
        shared: SharedRollouts | None = None,
    ) -> None:
        super().__init__(switch=switch, activate=activate, shared=shared, follow_live=follow_live)
        self._roll_back = roll_back
        self._store = shared or store
        self._gates = gates
        self._shadow = shadow
        self._confirm = confirm
        self._saved_at_ns = 0

    # What is seen.

    async def ask(self, samples: Sequence[Sample]) -> None:
        """Have the other side asked about ``samples``, and end the rollout where what is seen asks for it."""
        if not samples:
            self.room.filled.clear()
        await self._looked_after(samples)

    async def _looked_after(self, samples: Sequence[Sample]) -> None:
        under_way = self._under_way
        if under_way is None:
            return
        try:
            if samples:
                await self._shadow(under_way, samples)
                await self._count(under_way)
            await self._look(under_way)
        except AisecopsError as error:
            _logger.warning("the rollout was not looked after: %s", error.diagnostics())
        except Exception:
            # A worker that ended would leave a rollout that nobody watches.
            _logger.exception("the rollout was not looked after")

    # What people do.

    async def start(self, command: StartCommand) -> RolloutStatus:
        """Build, verify and probe a commit, and have it see live plans from now on.

        Raises:
            UnknownRevisionError, BundleRejectedError, EngineUnavailableError: it cannot be a candidate.
            NoLiveRevisionError: nothing is live that it could be compared with.
            RolloutRefusedError: another rollout is under way, or the commit is live.
        """
        return await self._switch.unbroken(self._start(command))

    async def canary(self, selector: Selector, order: Order) -> RolloutStatus:
        """Have the candidate decide for the agents that ``selector`` chooses; asked again, it chooses anew.

        Raises:
            InvalidRequestError: the selector chooses nobody.
            RolloutRefusedError: none is under way.
            NotPermittedError: the candidate is not what the channel announces.
        """
        selector.require_usable()
        return await self._switch.unbroken(self._canary(selector, order))

    async def promote(self, order: Order, *, force: bool = False) -> RolloutStatus:
        """Make the candidate live.

        Raises:
            RolloutRefusedError: none is under way, or it does not keep its terms and nobody forces it.
            BundleRejectedError, EngineUnavailableError, LogUnavailableError: the live revision stays.
        """
        return await self._switch.unbroken(self._promote(order, force=force))

    async def abort(self, order: Order) -> RolloutStatus:
        """End the rollout that is under way; the live revision decides alone.

        Raises:
            RolloutRefusedError: none is under way.
        """
        return await self._switch.unbroken(self._leave(RolloutStage.ABORTED, order))

    async def rollback(self, order: Order) -> RolloutStatus:
        """Take a canary back, or make the revision before live again after a promotion.

        Raises:
            RolloutRefusedError: there is nothing to take back.
        """
        return await self._switch.unbroken(self._take_back(order))

    async def status(self) -> RolloutStatus | None:
        """Return the rollout that is under way, or the last one; ``None`` before the first."""
        await self.follow()
        if self._under_way is not None:
            under_way = self._under_way
            return RolloutStatus(under_way.rollout, under_way.total, await self._problems(under_way))
        found = await self._store.newest()
        return RolloutStatus(*found) if found else None

    async def recent(self, limit: int) -> list[RolloutStatus]:
        """Return the latest rollouts, newest first."""
        current = self._under_way
        return [
            RolloutStatus(current.rollout, current.total)
            if current and current.rollout.id == rollout.id
            else RolloutStatus(rollout, tally)
            for rollout, tally in await self._store.recent(limit)
        ]

    async def resume(self) -> None:
        """Go on with the rollout that was under way when the process ended; what was live is live again by now.

        Raises:
            LogUnavailableError, IntegrityError: it cannot be known.
        """
        await self._switch.unbroken(self._resume())

    async def watch(self) -> None:
        """Follow the rollout that replicas share until cancelled."""
        # Who ended here would go on with a candidate that was taken back.
        await Rounds(
            self._round,
            done="rollouts were followed",
            failed="it is not known how the rollout stands",
            interval_seconds=FOLLOW_SECONDS,
            pause=self.bell.pause,
        ).run()

    async def _round(self) -> int:
        await self.follow()
        await self._looked_after(())
        return 0

    async def _start(self, command: StartCommand) -> RolloutStatus:
        switch = self._switch
        async with self._busy:
            await self._look_up()
            if self._under_way is not None:
                raise _refused("a rollout is under way", "Promote, roll back or abort it first", "under_way")
            commit_id = await self._activate.resolve(command.revision)
            live = switch.live.live
            if live is None:
                raise NoLiveRevisionError("no policy revision is live, so nothing can be compared with it")
            if live.commit.id == commit_id:
                raise _refused("the commit is live already", "Name the one that is to become live", "live")
            async with switch.lock:
                engine = await switch.engine(commit_id)
            moved = self._moved(command.order)
            gate = await self._gates(live.commit.id, commit_id)
            terms = Terms(**gate.gates.rollout.model_dump())
            rollout = Rollout(
                id=f"rol-{switch.ids.nonce()}",
                base=_activated(live.engine),
                candidate=_activated(engine),
                started=moved,
                moved=moved,
                terms=terms.strictest(command.seconds, command.decisions),
            )
            tally = Tally(counted_to=await self._shadow.size())
            under_way = UnderWay(rollout, live.engine, engine, tally, Tally() if self._shared else tally)
            await self._stepped("rollout.started", rollout, tally)
            self._begin(under_way)
            return await self._told(under_way)

    async def _canary(self, selector: Selector, order: Order) -> RolloutStatus:
        async with self._busy:
            under_way = await self._require()
            await self._switch.require_announced(under_way.rollout.candidate.revision)
            # Who decides for all in a canary has made it live, so a canary asks for as many people.
            await self._confirm(f"canary {under_way.rollout.candidate.revision} for {selector.told()}", order)
            total = under_way.total
            moved = self._moved(order)
            rollout = under_way.rollout.at(RolloutStage.CANARY, moved, counted=total.compared, selector=selector)
            await self._stepped("rollout.canary_set", rollout, total)
            under_way.rollout = rollout
            self._move(under_way)
            return await self._told(under_way)

    async def _promote(self, order: Order, *, force: bool) -> RolloutStatus:
        async with self._busy:
            under_way = await self._require()
            problems = await self._problems(under_way)
            if problems and not force:
                raise _refused(
                    "the candidate may not be promoted: " + "; ".join(problems),
                    "Look at 'aisecops rollout status'; who answers for it may promote it with --force and a reason",
                    "terms",
                )
            if force and not order.reason:
                raise _refused("what is forced needs a reason", "Say why, for the log", "reason")
            rollout = under_way.rollout
            forced = " against its terms" if problems else ""
            await self._confirm(f"promote {rollout.candidate.revision}{forced}", order)
            moved = self._moved(order, forced=bool(problems))
            total = under_way.total
            ended = rollout.at(RolloutStage.PROMOTED, moved, counted=total.compared)
            both = self._both(ended, total, problems)
            command = ActivateCommand(rollout.candidate.revision, order, rollout.candidate.digest, both)
            async with self._first():
                await self._activate(command)
            if both is not None and both.is_stored:
                return await self._over(under_way, ended)
            return await self._end(under_way, RolloutStage.PROMOTED, moved, against=problems)

    async def _leave(self, stage: RolloutStage, order: Order) -> RolloutStatus:
        async with self._busy:
            return await self._end(await self._require(), stage, self._moved(order))

    async def _take_back(self, order: Order) -> RolloutStatus:
        async with self._busy:
            await self._look_up()
            if self._under_way is not None:
                return await self._end(self._under_way, RolloutStage.ROLLED_BACK, self._moved(order))
            found = await self._store.newest()
            live, previous = self._switch.live.live, self._switch.live.previous
            if (
                found is None
                or found[0].stage is not RolloutStage.PROMOTED
                or (live is None or live.engine.bundle.digest != found[0].candidate.digest)
                or (previous is None or previous.engine.bundle.digest != found[0].base.digest)
            ):
                raise _refused(
                    "no rollout is there to take back",
                    "'aisecops bundle rollback' makes the revision before live again",
                    "nothing",
                )
            rollout, tally = found
            ended = rollout.at(RolloutStage.ROLLED_BACK, self._moved(order), counted=tally.compared)
            both = self._both(ended, tally)
            async with self._first():
                await self._roll_back(order, together=both)
            if both is None:
                await self._stepped(_ENDS[ended.stage], ended, tally)
            return RolloutStatus(ended, tally)

    async def _end(
        self, under_way: UnderWay, stage: RolloutStage, moved: Moved, *, against: Sequence[str] = ()
    ) -> RolloutStatus:
        total = under_way.total
        ended = under_way.rollout.at(stage, moved, counted=total.compared)
        await self._stepped(_ENDS[stage], ended, total, against)
        return await self._over(under_way, ended)

    async def _over(self, under_way: UnderWay, ended: Rollout) -> RolloutStatus:
        self._leave_behind(ended.id)
        under_way.rollout = ended
        await self._finish(under_way)
        return RolloutStatus(ended, under_way.total)

    async def _stepped(self, type: str, rollout: Rollout, tally: Tally, against: Sequence[str] = ()) -> None:
        """Record a step of a rollout and store the rollout with it."""
        event = self._switch.event(type, step_details(rollout, tally, against))
        if self._shared is not None:
            async with self._first():
                await self._switch.record_change((event,), MoveRollout(rollout, tally.as_json()))
            return
        await self._switch.append(event)
        if not rollout.stage.is_under_way:
            # What is in the log has happened; a restart finds it from what is live.
            self._leave_behind(rollout.id)
        await self._store.save(rollout, tally)

    def _both(self, ended: Rollout, tally: Tally, against: Sequence[str] = ()) -> _Both | None:
        """Return what stores the end of a rollout together with what becomes live by it, where others follow both."""
        if self._shared is None:
            return None
        event = self._switch.event(_ENDS[ended.stage], step_details(ended, tally, against))
        return _Both(self._switch, event, MoveRollout(ended, tally.as_json()), self._hold)

    @contextlib.asynccontextmanager
    async def _first(self) -> AsyncIterator[None]:
        """Refuse who was not the first to move a rollout, after looking what became of it."""
        try:
            yield
        except ContendedError as error:
            await self._look_up()
            hint = "Look at 'aisecops rollout status' before you say it again"
            raise _refused(error.message, hint, "moved") from error

    async def _resume(self) -> None:
        await self.follow()
        if self._shared is not None:
            return
        async with self._busy:
            found = await self._store.newest()
            live = self._switch.live.live
            if self._under_way is not None or found is None or not found[0].stage.is_under_way or live is None:
                return
            rollout, tally = found
            await self._shadow.recount(rollout, tally)
            if live.engine.bundle.digest == rollout.candidate.digest:
                moved = self._moved(Order(CONTROL_PLANE, "it had become live when the process ended"))
                await self._closed(rollout, tally, RolloutStage.PROMOTED, moved)
                return
            try:
                self._begin(UnderWay(rollout, live.engine, await self._again(rollout, live), tally, tally))
            except AisecopsError as error:
                moved = self._moved(Order(CONTROL_PLANE, f"it cannot go on after a restart: {error.message}"))
                await self._closed(rollout, tally, RolloutStage.ABORTED, moved)

    async def _closed(self, rollout: Rollout, tally: Tally, stage: RolloutStage, moved: Moved) -> None:
        await self._stepped(_ENDS[stage], rollout.at(stage, moved, counted=tally.compared), tally)

    async def _again(self, rollout: Rollout, live: Served) -> PolicyEngine:
        if live.engine.bundle.digest != rollout.base.digest:
            raise _refused("another revision is live", "Start a rollout anew", "base")
        return await self._candidate(rollout)

    async def _look(self, under_way: UnderWay) -> None:
        """End the rollout that asks for it, and remember the tally now and then."""
        why, stage = "", RolloutStage.ROLLED_BACK
        if self._is_base(under_way):
            why = under_way.total.fault(under_way.rollout.terms)
        elif await self._is_replaced(under_way):
            why, stage = "another revision became live", RolloutStage.ABORTED
        if why:
            # Of several replicas that see it, one ends it.
            async with self._busy:
                if self._under_way is not None and self._under_way.rollout.id == under_way.rollout.id:
                    with contextlib.suppress(RolloutRefusedError):
                        await self._end(self._under_way, stage, self._moved(Order(CONTROL_PLANE, why)))
            return
        now = self._switch.clock.monotonic_ns()
        if now - self._saved_at_ns >= SAVE_NS and self._under_way is not None:
            self._saved_at_ns = now
            await self._store.save(self._under_way.rollout, self._under_way.tally)

    async def _is_replaced(self, under_way: UnderWay) -> bool:
        """Return whether another revision is live than the base: at all replicas, and not only here."""
        if self._shared is None:
            return True
        saved = await self._switch.store.load()
        return saved is not None and saved[0].digest != under_way.rollout.base.digest

    async def _problems(self, under_way: UnderWay) -> tuple[str, ...]:
        rollout, terms = under_way.rollout, under_way.rollout.terms
        # First, because it takes a while: from here on what is counted stands still.
        found = sorted({*under_way.problems, *filter(None, (under_way.problem,))})
        try:
            gate = await self._gates(rollout.base.revision, rollout.candidate.revision)
        except AisecopsError as error:
            if not under_way.is_shared:
                raise
            return (*found, f"what may differ cannot be read here: {error.message}")
        tally = under_way.total
        waited = (self._switch.clock.now_ns() - rollout.moved.at_ns) // _NS
        seen = tally.compared - rollout.counted_before
        if not self._is_base(under_way):
            found.append("another revision became live")
        if waited < terms.seconds:
            found.append(f"it was watched for {max(waited, 0)} of {terms.seconds} seconds at this stage")
        if seen < terms.decisions:
            found.append(f"{seen} of {terms.decisions} decisions were compared at this stage")
        if fault := tally.fault(terms):
            found.append(fault)
        if tally.disagreements > MOST_FLIPS:
            found.append(f"{tally.disagreements} outcomes differ, more than are kept one by one")
        lost, asked = tally.dropped + tally.errors, tally.dropped + tally.errors + tally.compared
        if lost * _PERCENT > gate.gates.most_indeterminate_percent * asked:
            found.append(f"of {lost} of {asked} decisions nobody knows what the candidate would have said")
        today = datetime.fromtimestamp(self._switch.clock.now_ns() / _NS, tz=UTC).date()
        problems = judged(tally.flips, gate.gates, gate.accepted, severities=gate.severities, today=today)
        return (*found, *(problem.message for problem in problems if problem.level is Level.ERROR))

    async def _require(self) -> UnderWay:
        await self._look_up()
        if self._under_way is None:
            raise _refused("no rollout is under way", "'aisecops rollout start' begins one", "nothing")
        return self._under_way

    def _moved(self, order: Order, *, forced: bool = False) -> Moved:
        return Moved(order.principal, order.reason, self._switch.clock.now_ns(), forced)

    async def _told(self, under_way: UnderWay) -> RolloutStatus:
        return RolloutStatus(under_way.rollout, under_way.total, await self._problems(under_way))


def _activated(engine: PolicyEngine) -> Activated:
    return Activated(engine.bundle.revision, engine.bundle.digest)


def _refused(message: str, hint: str, why: str) -> RolloutRefusedError:
    return RolloutRefusedError(message, hint=hint, why=why)
