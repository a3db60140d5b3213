"""Two control planes on one database, and a revision that is rolled out at both of them."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisecops.v1.decision_pb2 import Outcome
from aisecops_client import AsyncClient
from aisecops_server.bootstrap.control_plane import ControlPlane
from aisecops_server.settings import Settings
from aisecops_server.usecases.rollouts.rollouts import Rollouts, RolloutStatus

from tests.integration.api.real import running, settings_in
from tests.integration.policy.test_rollout import refund
from tests.scenes.planes.engines import until
from tests.scenes.policy.git_remotes import Remote

GATES = "rollout: {seconds: 0, decisions: 4, least: 3}\n"
ALLOWED, HELD = "OUTCOME_ALLOW", "OUTCOME_REQUIRE_APPROVAL"
PATIENCE_SECONDS = 120.0


@dataclass
class Replica:
    """One of the control planes, and an agent that asks it."""

    plane: ControlPlane
    client: AsyncClient

    @property
    def rollouts(self) -> Rollouts:
        assert self.plane.rollouts is not None
        return self.plane.rollouts

    async def decide(self, times: int = 1) -> set[tuple[str, str]]:
        """Decide refunds and return outcome and revision of each."""
        answers = [(await self.client.decide(refund())).decision for _ in range(times)]
        return {(Outcome.Name(answer.outcome), answer.bundle_revision) for answer in answers}

    async def status(self, is_so: Callable[[RolloutStatus], bool]) -> RolloutStatus:
        """Return the status once it is as wanted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status = await self.rollouts.status()
                if status is not None and is_so(status):
                    return status
                await asyncio.sleep(0.05)

    async def compared(self, count: int) -> RolloutStatus:
        return await self.status(lambda status: status.tally.compared >= count)

    async def follows(self, stage: str) -> None:
        """Wait until it follows a rollout at a stage with an engine of its own, or none."""
        await until(lambda: (self.rollouts.current.stage.value if self.rollouts.current else "") == stage)
        if stage:
            await self.status(lambda status: status.rollout.stage.value == stage)

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return type and details of everything on record."""
        found = self.plane.log.events(from_index=0, follow=False, trace_id="")
        return [(stored.event.type, stored.event.details()) async for stored in found]

    async def steps(self) -> Counter[str]:
        """Return how often each step of a rollout is on record."""
        kinds = [kind for kind, _ in await self.events()]
        return Counter(kind for kind in kinds if kind.startswith("rollout.") and kind != "rollout.compared")


def beside(settings: Settings, root: Path, **changes: Any) -> Settings:
    """Return settings of another control plane on the same database, with the same keys."""
    state = root / "other"
    shutil.copytree(settings.state_dir / "keys", state / "keys")
    return settings.model_copy(update={"state_dir": state, **changes})


@asynccontextmanager
async def two(
    root: Path, url: str, *, gates: str = GATES, is_apart: bool = False, other_url: str = ""
) -> AsyncIterator[tuple[Replica, Replica]]:
    """Serve the policy that ships at two replicas; one that ``is_apart`` reads a repository that gets nothing more."""
    settings = settings_in(root).model_copy(update={"database_url": url})
    Remote(root / "policy").commit({"gates.yaml": gates.encode()}, "gates")
    async with running(settings) as (one, asking):
        await one.policy.sync()
        repository = root / "apart" if is_apart else root / "policy"
        if is_apart:
            shutil.copytree(root / "policy", repository)
        own = beside(settings, root, repository=str(repository), database_url=other_url or url)
        async with running(own) as (other, asking_too):
            yield Replica(one, asking), Replica(other, asking_too)
