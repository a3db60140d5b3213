"""What decisions meet of a rollout: who is decided by the candidate, and what is noted to ask the other side later.

Ordering rules:

1. Nothing here waits or raises. The pointer that decisions read moves in one step; a decision keeps the engine it took.
2. Where replicas share a rollout, what the candidate decided is stored only while the log knows the rollout at the step
   that was known here. What is refused so is decided anew, by the base until it was looked again.
3. An agent of the canary whose candidate cannot be asked here is decided for by the base, which is on record, and it
   counts as a failure of the candidate.
"""

from __future__ import annotations

from collections.abc import Mapping

from aisecops_server.domain.bundles.bundle import Bundle
from aisecops_server.domain.decisions.decision import Decision, Mode
from aisecops_server.domain.errors import AisecopsError, EngineUnavailableError, NoDecisionError
from aisecops_server.domain.events.change import Change
from aisecops_server.domain.formats.canonical import JsonValue
from aisecops_server.domain.log.record import DecisionRecord
from aisecops_server.domain.rollouts.rollout import Rollout, RolloutStage
from aisecops_server.domain.rollouts.rollout_changes import KIND, RequireRollout
from aisecops_server.ports import PolicyEngine
from aisecops_server.usecases.bundles.live_policy import LivePolicy
from aisecops_server.usecases.bundles.sync import Bell
from aisecops_server.usecases.rollouts.shadow import Room, Sample, UnderWay


class RolloutCompanion:
    """Implements ``Companion``."""

    def __init__(self, live: LivePolicy) -> None:
        self._live = live
        self._under_way: UnderWay | None = None
        # Of the newest canary or promotion that replicas share; it outlives both, for decisions that took its engine.
        self._condition: tuple[str, RequireRollout] | None = None
        # It ended otherwise than by a promotion, and what is live was looked up since: live again, it is no candidate.
        self._is_let_go = False
        self._is_doubted = False
        self.room = Room()
        # Rung when somebody moved a rollout that replicas share.
        self.bell = Bell()

    def engine_for(self, agent_id: str) -> PolicyEngine | None:
        """Return the candidate's engine for an agent of the canary."""
        under_way = self._under_way
        if under_way is None or self._is_doubted or not self._is_chosen(under_way, agent_id):
            return None
        return under_way.candidate

    def required(self, bundle: Bundle) -> tuple[Change, ...]:
        """Return what must hold when a decision by ``bundle`` is stored."""
        live = self._live.live
        if self._condition is None or self._condition[0] != bundle.digest:
            return ()
        is_live = live is not None and live.engine.bundle.digest == bundle.digest
        return () if is_live and self._is_let_go else (self._condition[1],)

    def contended(self, error: AisecopsError) -> None:
        """Let the base decide until it was looked how the rollout stands, if that is what changed."""
        if error.metadata().get("what") == KIND:
            self._is_doubted = True
            self.bell.ring()

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
            under_way.own.decided(
                slow=decision.evaluation_ns > rollout.terms.slow_milliseconds * 1_000_000, failed=False
            )
        elif under_way.candidate is None:
            self._missed(under_way, decision)
            return
        if not self.room.put(Sample(decision, details, record.document, by_candidate)):
            under_way.own.dropped += 1

    def failed(self, bundle: Bundle, error: AisecopsError) -> None:
        """Take note that the candidate gave no decision to an agent of the canary."""
        under_way = self._under_way
        if under_way is None or bundle.digest != under_way.rollout.candidate.digest:
            return
        if isinstance(error, EngineUnavailableError | NoDecisionError):
            under_way.own.decided(slow=False, failed=True)
            # So that somebody looks, although there is nothing to compare.
            self.room.filled.set()

    @property
    def current(self) -> Rollout | None:
        """Return the rollout that is under way."""
        return self._under_way.rollout if self._under_way else None

    def _missed(self, under_way: UnderWay, decision: Decision) -> None:
        if under_way.problem and self._is_chosen(under_way, decision.principal.id):
            under_way.own.decided(slow=False, failed=True)
            self.room.filled.set()
        else:
            under_way.own.dropped += 1

    def _is_chosen(self, under_way: UnderWay, agent_id: str) -> bool:
        rollout, base = under_way.rollout, under_way.base
        if rollout.stage is not RolloutStage.CANARY or base is None or not self._is_base(under_way):
            return False
        return rollout.selector.chooses(agent_id, base.bundle.tables, salt=rollout.id)

    def _is_base(self, under_way: UnderWay) -> bool:
        live = self._live.live
        return live is not None and live.engine.bundle.digest == under_way.rollout.base.digest

    def _begin(self, under_way: UnderWay) -> None:
        self.room.clear()
        self._move(under_way)

    def _move(self, under_way: UnderWay) -> None:
        """Let decisions meet a rollout as it stands now."""
        rollout = under_way.rollout
        if under_way.is_shared:
            self._hold(rollout)
        self._under_way = under_way
        self._is_doubted = False

    def _hold(self, rollout: Rollout) -> None:
        """Hold what the candidate of a canary or of a promotion decides against the log from now on."""
        if rollout.stage in (RolloutStage.CANARY, RolloutStage.PROMOTED):
            self._condition = (rollout.candidate.digest, RequireRollout(rollout.id, rollout.step))
            self._is_let_go = False

    def _leave_behind(self, rollout_id: str) -> None:
        """Let the live revision decide alone."""
        if self._under_way is not None and self._under_way.rollout.id == rollout_id:
            self._under_way = None
            self.room.clear()
