"""A control plane is killed in the middle of a canary: it goes on with it, and counts what it had not saved."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aisecops.v1.decision_pb2 import Outcome
from aisecops.v1.rollout_service_pb2 import Rollout, RolloutSelector
from aisecops_client import AsyncClient, Client
from aisecops_client.rollouts import Rollouts
from aisecops_server.bootstrap.authentication import issuer
from aisecops_server.domain.callers.identity import Role
from aisecops_server.settings import Settings

from tests.fault.test_edge_crash import program
from tests.integration.api.real import AGENT, settings_in
from tests.integration.policy.test_rollout import refund, stricter
from tests.scenes.policy.git_remotes import Remote

ENOUGH = 6
PATIENCE_SECONDS = 120.0


def connected(settings: Settings) -> Client:
    client = Client.connect(f"unix:{settings.socket}", issuer(settings).mint("ada", (Role.SECURITY,)))
    client.work_seconds = 120.0
    return client


async def decided(settings: Settings, times: int) -> set[tuple[str, str]]:
    """Return what was decided of refunds, and by which revision."""
    async with AsyncClient.connect(f"unix:{settings.socket}", issuer(settings).mint(AGENT, (Role.AGENT,))) as client:
        client.timeout_seconds = 60.0
        answers = [(await client.decide(refund())).decision for _ in range(times)]
        return {(Outcome.Name(answer.outcome), answer.bundle_revision) for answer in answers}


async def compared(rollouts: Rollouts, count: int) -> Rollout:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = rollouts.current().rollout
            if found.compared >= count:
                return found
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.asyncio
async def test_a_kill_in_a_canary_loses_nothing_of_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    candidate = stricter(Remote(tmp_path / "policy"))
    answer = ("OUTCOME_REQUIRE_APPROVAL", candidate)
    with program(settings, "first") as process, connected(settings) as client:
        rollouts = Rollouts(client)
        rollouts.start(candidate, reason="killed soon")
        before = rollouts.canary(RolloutSelector(percent=100), reason="killed soon")
        assert await decided(settings, ENOUGH) == {answer}
        assert (await compared(rollouts, ENOUGH)).stricter == ENOUGH
        process.kill()
        process.wait()
    with program(settings, "second"), connected(settings) as client:
        rollouts = Rollouts(client)
        after = rollouts.current().rollout
        assert (after.rollout_id, after.stage, after.moved) == (before.rollout_id, before.stage, before.moved)
        assert (after.compared, after.stricter, len(after.samples)) == (ENOUGH, ENOUGH, ENOUGH)
        assert await decided(settings, 1) == {answer}
        assert (await compared(rollouts, ENOUGH + 1)).stricter == ENOUGH + 1
