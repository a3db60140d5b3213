"""RolloutService: bringing a revision to agents step by step. Every step says who wanted it and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from aisecops.v1 import rollout_service_pb2 as api

from aisecops_server.domain.bundles.bundle import Activated
from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.rollouts.rollout import Moved, Rollout, Selector, Terms
from aisecops_server.entrypoints.grpc.bundle_service import order_of, revision_name
from aisecops_server.entrypoints.grpc.caller import Caller
from aisecops_server.entrypoints.grpc.decision_codec import timestamp
from aisecops_server.entrypoints.grpc.methods import read_message
from aisecops_server.usecases.rollouts.rollouts import Rollouts, RolloutStatus, StartCommand

_STAGES = {name.removeprefix("ROLLOUT_STAGE_"): number for name, number in api.RolloutStage.items()}
_SAMPLES = 20
_SHOWN = 50
_USUAL, _MOST = 20, 100


@dataclass(frozen=True, slots=True)
class RolloutService:
    """The handlers of ``aisecops.v1.RolloutService``."""

    rollouts: Rollouts

    async def start(self, request: bytes, caller: Caller) -> api.StartRolloutResponse:
        """Answer StartRollout."""
        asked = read_message(api.StartRolloutRequest, request)
        if asked.seconds < 0 or asked.decisions < 0:
            raise InvalidRequestError("seconds: not less than nothing", hint="Leave it out", field="seconds")
        command = StartCommand(
            revision_name(asked.revision), order_of(caller, asked.reason), asked.seconds, asked.decisions
        )
        return api.StartRolloutResponse(rollout=rollout_message(await self.rollouts.start(command)))

    async def canary(self, request: bytes, caller: Caller) -> api.SetCanaryResponse:
        """Answer SetCanary."""
        asked = read_message(api.SetCanaryRequest, request)
        chosen = asked.selector
        selector = Selector(chosen.percent, tuple(chosen.agents), tuple(chosen.teams), tuple(chosen.environments))
        status = await self.rollouts.canary(selector, order_of(caller, asked.reason))
        return api.SetCanaryResponse(rollout=rollout_message(status))

    async def promote(self, request: bytes, caller: Caller) -> api.PromoteRolloutResponse:
        """Answer PromoteRollout."""
        asked = read_message(api.PromoteRolloutRequest, request)
        status = await self.rollouts.promote(order_of(caller, asked.reason), force=asked.force)
        return api.PromoteRolloutResponse(rollout=rollout_message(status))

    async def roll_back(self, request: bytes, caller: Caller) -> api.RollBackRolloutResponse:
        """Answer RollBackRollout."""
        asked = read_message(api.RollBackRolloutRequest, request)
        status = await self.rollouts.rollback(order_of(caller, asked.reason))
        return api.RollBackRolloutResponse(rollout=rollout_message(status))

    async def abort(self, request: bytes, caller: Caller) -> api.AbortRolloutResponse:
        """Answer AbortRollout."""
        asked = read_message(api.AbortRolloutRequest, request)
        status = await self.rollouts.abort(order_of(caller, asked.reason))
        return api.AbortRolloutResponse(rollout=rollout_message(status))

    async def current(self, request: bytes, _caller: Caller) -> api.GetRolloutResponse:
        """Answer GetRollout."""
        read_message(api.GetRolloutRequest, request)
        status = await self.rollouts.status()
        return api.GetRolloutResponse(rollout=rollout_message(status) if status else None)

    async def recent(self, request: bytes, _caller: Caller) -> api.ListRolloutsResponse:
        """Answer ListRollouts."""
        asked = read_message(api.ListRolloutsRequest, request)
        if not 0 <= asked.page_size <= _MOST:
            raise InvalidRequestError(f"page_size: from 1 to {_MOST}", hint="Ask for fewer", field="page_size")
        found = await self.rollouts.recent(asked.page_size or _USUAL)
        return api.ListRolloutsResponse(rollouts=[rollout_message(status) for status in found])


def rollout_message(status: RolloutStatus) -> api.Rollout:
    """Return a rollout as the API shows it."""
    rollout, tally = status.rollout, status.tally
    return api.Rollout(
        rollout_id=rollout.id,
        stage=_STAGES[rollout.stage.value],
        base=_side(rollout.base),
        candidate=_side(rollout.candidate),
        started=_move(rollout.started),
        moved=_move(rollout.moved),
        selector=_selector(rollout),
        terms=_terms(rollout.terms),
        compared=tally.compared,
        compared_at_stage=tally.compared - rollout.counted_before,
        same=tally.same,
        other=tally.other,
        looser=tally.looser,
        stricter=tally.stricter,
        risky=tally.risky,
        answered=tally.answered,
        errors=tally.errors,
        slow=tally.slow,
        dropped=tally.dropped,
        rules=_disagreements(tally.rules),
        agents=_disagreements(tally.agents),
        samples=[
            api.RolloutSample(
                decision_id=flip.decision_id,
                trace_id=flip.trace_id,
                direction=flip.direction,
                risky=flip.risky,
                rules=flip.rules,
            )
            for flip in tally.flips[-_SAMPLES:]
        ],
        problems=status.problems,
    )


def _side(side: Activated) -> api.RolloutSide:
    return api.RolloutSide(commit=side.revision, bundle_digest=side.digest)


def _move(moved: Moved) -> api.RolloutMove:
    return api.RolloutMove(by=moved.by, reason=moved.reason, at=timestamp(moved.at_ns), forced=moved.forced)


def _selector(rollout: Rollout) -> api.RolloutSelector:
    chosen = rollout.selector
    return api.RolloutSelector(
        percent=chosen.percent, agents=chosen.agents, teams=chosen.teams, environments=chosen.environments
    )


def _terms(terms: Terms) -> api.RolloutTerms:
    return api.RolloutTerms(
        seconds=terms.seconds,
        decisions=terms.decisions,
        most_error_percent=terms.most_error_percent,
        slow_milliseconds=terms.slow_milliseconds,
        most_slow_percent=terms.most_slow_percent,
    )


def _disagreements(counts: Counter[tuple[str, str]]) -> Iterator[api.RolloutDisagreement]:
    for (name, direction), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]:
        yield api.RolloutDisagreement(name=name, direction=direction, count=count)
