"""Rolls a revision out: shadow, canary, promotion, and the ways back. Each step says who wanted it and why.

Ordering rules:

1. One rollout at a time, and one change of it at a time. Every change is in the log before it takes effect.
2. The pointer that decisions read moves in one step; a decision keeps the engine that it took.
3. What is promoted is the very bundle that was watched, by digest, through ``activate`` and in no other way.
4. When something else becomes live, the rollout ends: it compared with what is no longer there.
5. A candidate that fails or is too slow is taken back by itself, from a shadow as from a canary.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aisecops_server.domain.accepted_flips import judged
from aisecops_server.domain.bundle import Activated, Bundle
from aisecops_server.domain.bundle_status import BundleStatus
from aisecops_server.domain.canonical import JsonValue
from aisecops_server.domain.decision import Mode
from aisecops_server.domain.errors import (
    AisecopsError,
    BundleRejectedError,
    EngineUnavailableError,
    NoDecisionError,
    NoLiveRevisionError,
    RolloutRefusedError,
)
from aisecops_server.domain.policy_check import Level
from aisecops_server.domain.record import DecisionRecord
from aisecops_server.domain.rollout import Moved, Rollout, RolloutStage, Selector, Terms
from aisecops_server.domain.rollout_tally import MOST_FLIPS, Tally
from aisecops_server.ports import PolicyEngine
from aisecops_server.ports.rollout import RolloutGates, RolloutStore
from aisecops_server.usecases.activate import Activate, ActivateCommand, Order, PolicySwitch
from aisecops_server.usecases.live_policy import Served
from aisecops_server.usecases.shadow import Room, Sample, Shadow, UnderWay

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


class Rollouts:
    """Implements ``Companion``, and changes the rollout that is under way."""

    def __init__(
        self,
        *,
        switch: PolicySwitch,
        activate: Activate,
        roll_back: Callable[[Order], Awaitable[BundleStatus]],
        store: RolloutStore,
        gates: RolloutGates,
        shadow: Shadow,
        confirm: Callable[[str, Order], Awaitable[None]],
    ) -> None:
        self._switch = switch
        self._activate = activate
        self._roll_back = roll_back
        self._store = store
        self._gates = gates
        self._shadow = shadow
        self._confirm = confirm
        self._busy = asyncio.Lock()
        self._under_way: UnderWay | None = None
        self._saved_at_ns = 0
        self.room = Room()

    # What decisions meet.

    def engine_for(self, agent_id: str) -> PolicyEngine | None:
        """Return the candidate's engine for an agent of the canary."""
        under_way = self._under_way
        if under_way is None or under_way.rollout.stage is not RolloutStage.CANARY or not self._is_base(under_way):
            return None
        rollout = under_way.rollout
        chosen = rollout.selector.chooses(agent_id, under_way.base.bundle.tables, salt=rollout.id)
        return under_way.candidate if chosen else None

    def decided(self, record: DecisionRecord, details: Mapping[str, JsonValue]) -> None:
        """Take note of a decision that counted, for the other side to be asked about it later."""
        under_way = self._under_way
        decision = record.decision
        if under_way is None or decision.mode is not Mode.ENFORCE:
            return
        rollout = under_way.rollout
        by_candidate = decision.bundle_digest == rollout.candidate.digest
        if not by_candidate and decision.bundle_digest != rollout.base.digest:
            return
        if by_candidate:
            under_way.tally.decided(
                slow=decision.evaluation_ns > rollout.terms.slow_milliseconds * 1_000_000, failed=False
            )
        if not self.room.put(Sample(decision, details, record.document, by_candidate)):
            under_way.tally.dropped += 1

    def failed(self, bundle: Bundle, error: AisecopsError) -> None:
        """Take note that the candidate gave no decision to an agent of the canary."""
        under_way = self._under_way
        if under_way is None or bundle.digest != under_way.rollout.candidate.digest:
            return
        if isinstance(error, EngineUnavailableError | NoDecisionError):
            under_way.tally.decided(slow=False, failed=True)
            # So that somebody looks, although there is nothing to compare.
            self.room.filled.set()

    async def ask(self, samples: Sequence[Sample]) -> None:
        """Have the other side asked about ``samples``, and end the rollout where what is seen asks for it."""
        under_way = self._under_way
        if not samples:
            self.room.filled.clear()
        if under_way is None:
            return
        try:
            if samples:
                await self._shadow(under_way, samples)
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
        if self._under_way is not None:
            under_way = self._under_way
            return RolloutStatus(under_way.rollout, under_way.tally, await self._problems(under_way))
        found = await self._store.newest()
        return RolloutStatus(*found) if found else None

    async def recent(self, limit: int) -> list[RolloutStatus]:
        """Return the latest rollouts, newest first."""
        current = self._under_way
        return [
            RolloutStatus(current.rollout, current.tally)
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

    @property
    def current(self) -> Rollout | None:
        """Return the rollout that is under way."""
        return self._under_way.rollout if self._under_way else None

    # One change at a time.

    async def _start(self, command: StartCommand) -> RolloutStatus:
        switch = self._switch
        async with self._busy:
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
            under_way = UnderWay(rollout, live.engine, engine, Tally(counted_to=await self._shadow.size()))
            await self._recorded("rollout.started", under_way)
            self._begin(under_way)
            return await self._told(under_way)

    async def _canary(self, selector: Selector, order: Order) -> RolloutStatus:
        async with self._busy:
            under_way = self._require()
            await self._switch.require_announced(under_way.rollout.candidate.revision)
            # Who decides for all in a canary has made it live, so a canary asks for as many people.
            await self._confirm(f"canary {under_way.rollout.candidate.revision} for {selector.told()}", order)
            counted = under_way.tally.compared
            rollout = under_way.rollout.at(RolloutStage.CANARY, self._moved(order), counted=counted, selector=selector)
            moved = UnderWay(rollout, under_way.base, under_way.candidate, under_way.tally)
            await self._recorded("rollout.canary_set", moved)
            self._under_way = moved
            return await self._told(moved)

    async def _promote(self, order: Order, *, force: bool) -> RolloutStatus:
        async with self._busy:
            under_way = self._require()
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
            command = ActivateCommand(rollout.candidate.revision, order, rollout.candidate.digest)
            await self._activate(command)
            moved = self._moved(order, forced=bool(problems))
            return await self._end(under_way, RolloutStage.PROMOTED, moved, against=problems)

    async def _leave(self, stage: RolloutStage, order: Order) -> RolloutStatus:
        async with self._busy:
            return await self._taken_back(self._require(), stage, order)

    async def _take_back(self, order: Order) -> RolloutStatus:
        async with self._busy:
            if self._under_way is not None:
                return await self._taken_back(self._under_way, RolloutStage.ROLLED_BACK, order)
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
            await self._roll_back(order)
            return await self._ended(*found, RolloutStage.ROLLED_BACK, self._moved(order))

    async def _taken_back(self, under_way: UnderWay, stage: RolloutStage, order: Order) -> RolloutStatus:
        return await self._end(under_way, stage, self._moved(order))

    async def _end(
        self, under_way: UnderWay, stage: RolloutStage, moved: Moved, *, against: Sequence[str] = ()
    ) -> RolloutStatus:
        status = await self._ended(under_way.rollout, under_way.tally, stage, moved, against=against)
        self._under_way = None
        self.room.clear()
        return status

    async def _ended(
        self, rollout: Rollout, tally: Tally, stage: RolloutStage, moved: Moved, *, against: Sequence[str] = ()
    ) -> RolloutStatus:
        ended = rollout.at(stage, moved, counted=tally.compared)
        await self._switch.record(_ENDS[stage], _told_of(ended, tally, against))
        # What is in the log has happened; a restart finds it from what is live.
        if self._under_way is not None and self._under_way.rollout.id == rollout.id:
            self._under_way = None
        await self._store.save(ended, tally)
        return RolloutStatus(ended, tally)

    async def _resume(self) -> None:
        async with self._busy:
            found = await self._store.newest()
            live = self._switch.live.live
            if self._under_way is not None or found is None or not found[0].stage.is_under_way or live is None:
                return
            rollout, tally = found
            await self._shadow.recount(rollout, tally)
            if live.engine.bundle.digest == rollout.candidate.digest:
                moved = self._moved(Order(CONTROL_PLANE, "it had become live when the process ended"))
                await self._ended(rollout, tally, RolloutStage.PROMOTED, moved)
                return
            try:
                self._begin(UnderWay(rollout, live.engine, await self._again(rollout, live), tally))
            except AisecopsError as error:
                moved = self._moved(Order(CONTROL_PLANE, f"it cannot go on after a restart: {error.message}"))
                await self._ended(rollout, tally, RolloutStage.ABORTED, moved)

    async def _again(self, rollout: Rollout, live: Served) -> PolicyEngine:
        if live.engine.bundle.digest != rollout.base.digest:
            raise _refused("another revision is live", "Start a rollout anew", "base")
        async with self._switch.lock:
            engine = await self._switch.engine(rollout.candidate.revision)
        if engine.bundle.digest != rollout.candidate.digest:
            raise BundleRejectedError("the candidate is built otherwise by this version", hint="Start a rollout anew")
        return engine

    async def _look(self, under_way: UnderWay) -> None:
        """End the rollout that asks for it, and remember the tally now and then."""
        if not self._is_base(under_way):
            why, stage = "another revision became live", RolloutStage.ABORTED
        else:
            why, stage = under_way.tally.fault(under_way.rollout.terms), RolloutStage.ROLLED_BACK
        if why:
            async with self._busy:
                if self._under_way is not None and self._under_way.rollout.id == under_way.rollout.id:
                    await self._taken_back(self._under_way, stage, Order(CONTROL_PLANE, why))
            return
        now = self._switch.clock.monotonic_ns()
        if now - self._saved_at_ns >= SAVE_NS and self._under_way is not None:
            self._saved_at_ns = now
            await self._store.save(self._under_way.rollout, self._under_way.tally)

    async def _problems(self, under_way: UnderWay) -> tuple[str, ...]:
        rollout, tally, terms = under_way.rollout, under_way.tally, under_way.rollout.terms
        # First, because it takes a while: from here on what is counted stands still.
        gate = await self._gates(rollout.base.revision, rollout.candidate.revision)
        found: list[str] = []
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

    def _is_base(self, under_way: UnderWay) -> bool:
        live = self._switch.live.live
        return live is not None and live.engine.bundle.digest == under_way.rollout.base.digest

    def _begin(self, under_way: UnderWay) -> None:
        self.room.clear()
        self._under_way = under_way

    def _require(self) -> UnderWay:
        if self._under_way is None:
            raise _refused("no rollout is under way", "'aisecops rollout start' begins one", "nothing")
        return self._under_way

    def _moved(self, order: Order, *, forced: bool = False) -> Moved:
        return Moved(order.principal, order.reason, self._switch.clock.now_ns(), forced)

    async def _recorded(self, type: str, under_way: UnderWay) -> None:
        await self._switch.record(type, _told_of(under_way.rollout, under_way.tally, ()))
        await self._store.save(under_way.rollout, under_way.tally)

    async def _told(self, under_way: UnderWay) -> RolloutStatus:
        return RolloutStatus(under_way.rollout, under_way.tally, await self._problems(under_way))


def _activated(engine: PolicyEngine) -> Activated:
    return Activated(engine.bundle.revision, engine.bundle.digest)


def _refused(message: str, hint: str, why: str) -> RolloutRefusedError:
    return RolloutRefusedError(message, hint=hint, why=why)


def _told_of(rollout: Rollout, tally: Tally, problems: Sequence[str]) -> dict[str, JsonValue]:
    selector = rollout.selector
    return {
        "rollout": rollout.id,
        "revision": rollout.candidate.revision,
        "digest": rollout.candidate.digest,
        "base": rollout.base.revision,
        "base_digest": rollout.base.digest,
        "stage": rollout.stage.value,
        "principal": rollout.moved.by,
        "reason": rollout.moved.reason,
        "forced": rollout.moved.forced,
        "percent": selector.percent,
        "agents": list(selector.agents),
        "teams": list(selector.teams),
        "environments": list(selector.environments),
        "compared": tally.compared,
        "looser": tally.looser,
        "stricter": tally.stricter,
        "errors": tally.errors,
        "slow": tally.slow,
        "dropped": tally.dropped,
        "against": list(problems),
    }
