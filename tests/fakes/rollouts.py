"""Rollouts of a control plane on fakes: the real use cases, which keep what they know in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aisecops_server.domain.bundles.bundle import CommitId
from aisecops_server.domain.policy.accepted_flips import Accepted, Gates
from aisecops_server.domain.rollouts.rollout import Rollout, read_rollout
from aisecops_server.domain.rollouts.rollout_tally import Tally, read_tally
from aisecops_server.ports import Clock, EventLog, Ids
from aisecops_server.ports.rollout import RolloutGate
from aisecops_server.usecases.bundles.activate import Activate, Order, PolicySwitch, Rollback
from aisecops_server.usecases.bundles.live_policy import LivePolicy
from aisecops_server.usecases.bundles.sync import Resume
from aisecops_server.usecases.rollouts.rollouts import Rollouts
from aisecops_server.usecases.rollouts.shadow import Shadow

from tests.fakes.policies import FakeActivationStore, FakeBuilder, FakePool, FakeRepository


@dataclass
class MemoryRollouts:
    """Implements ``RolloutStore``; what is kept is what was saved, not what goes on counting."""

    kept: dict[str, tuple[Rollout, Tally]] = field(default_factory=dict)

    async def newest(self) -> tuple[Rollout, Tally] | None:
        found = await self.recent(1)
        return found[0] if found else None

    async def recent(self, limit: int) -> Sequence[tuple[Rollout, Tally]]:
        return [
            (read_rollout(rollout.as_json()), read_tally(tally.as_json()))
            for rollout, tally in list(self.kept.values())[::-1][:limit]
        ]

    async def save(self, rollout: Rollout, tally: Tally) -> None:
        self.kept[rollout.id] = (rollout, read_tally(tally.as_json()))


@dataclass
class FixedGates:
    """Gates that say the same of every change."""

    gate: RolloutGate = field(default_factory=lambda: RolloutGate(Gates(), Accepted(()), {}))

    async def __call__(self, base: CommitId, candidate: CommitId) -> RolloutGate:
        return self.gate


async def confirmed(_subject: str, _order: Order) -> None:
    """Let everything pass: no channel asks for more people."""


def no_rollouts(log: EventLog, clock: Clock, ids: Ids) -> Rollouts:
    """Return use cases that can be asked, of a repository without commits."""
    repository, builder, pool = FakeRepository(), FakeBuilder(), FakePool()
    switch = PolicySwitch(
        repository=repository,
        builder=builder,
        pool=pool,
        log=log,
        store=FakeActivationStore(),
        live=LivePolicy(repository=repository, builder=builder, pool=pool),
        clock=clock,
        ids=ids,
    )
    return Rollouts(
        switch=switch,
        activate=Activate(switch),
        roll_back=Rollback(switch),
        follow_live=Resume(switch).follow,
        store=MemoryRollouts(),
        gates=FixedGates(),
        shadow=Shadow(log, clock, ids, deadline_seconds=1.0),
        confirm=confirmed,
    )
