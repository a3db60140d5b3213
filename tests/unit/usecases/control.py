"""Activation with everything around it faked, wired as the control plane wires it."""

from __future__ import annotations

from dataclasses import dataclass, field

from aisecops_server.usecases.bundles.activate import Activate, ActivateCommand, Order, PolicySwitch, Rollback
from aisecops_server.usecases.bundles.live_policy import LivePolicy
from aisecops_server.usecases.bundles.sync import Resume, Sync

from tests.fakes.policies import (
    CountingIds,
    FakeActivationStore,
    FakeBuilder,
    FakeLog,
    FakePool,
    FakeRepository,
    FixedClock,
)

ORDER = Order("ada", "because")


@dataclass
class Control:
    repository: FakeRepository = field(default_factory=FakeRepository)
    builder: FakeBuilder = field(default_factory=FakeBuilder)
    pool: FakePool = field(default_factory=FakePool)
    log: FakeLog = field(default_factory=FakeLog)
    store: FakeActivationStore = field(default_factory=FakeActivationStore)

    def __post_init__(self) -> None:
        self.live = LivePolicy(repository=self.repository, builder=self.builder, pool=self.pool)
        self.switch = PolicySwitch(
            repository=self.repository,
            builder=self.builder,
            pool=self.pool,
            log=self.log,
            store=self.store,
            live=self.live,
            clock=FixedClock(),
            ids=CountingIds(),
        )
        self.activate = Activate(self.switch)
        self.rollback = Rollback(self.switch)
        self.resume = Resume(self.switch)
        self.sync = Sync(self.switch, activate=self.activate, resume=self.resume)

    async def make_live(self, name: str) -> None:
        await self.activate(ActivateCommand(name, ORDER))

    def restarted(self) -> Control:
        """Return a new process over the same state directory and repository."""
        return Control(repository=self.repository, builder=self.builder, store=self.store, log=self.log)

    @property
    def live_number(self) -> int | None:
        served = self.live.live
        return int(served.commit.id, 16) if served else None

    @property
    def previous_number(self) -> int | None:
        served = self.live.previous
        return int(served.commit.id, 16) if served else None
