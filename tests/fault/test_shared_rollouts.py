"""A replica that rolls a revision out is killed, or cut off from the database that it shares with another one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aisecops.v1.rollout_service_pb2 import RolloutSelector
from aisecops_client import AisecopsClientError
from aisecops_client.rollouts import Rollouts
from aisecops_server.domain.rollouts.rollout import Selector
from aisecops_server.usecases.rollouts.rollouts import StartCommand

from tests.fault.network import BOTH, link_to
from tests.fault.test_database_connections import over
from tests.fault.test_edge_crash import program
from tests.fault.test_rollout_crash import compared, connected, decided
from tests.integration.api.real import settings_in
from tests.integration.policy.test_rollout import ADA, BEN, stricter
from tests.scenes.planes.shared_rollouts import ALLOWED, HELD, beside, two
from tests.scenes.policy.git_remotes import Remote
from tests.scenes.servers.postgres_servers import PostgresServer, postgres

__all__ = ["postgres"]

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]
ENOUGH = 6


@pytest.mark.slow
async def test_the_replica_that_began_a_canary_is_killed_and_the_other_one_counts_the_same(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.url(await asyncio.to_thread(postgres.database))
    settings = settings_in(tmp_path).model_copy(update={"database_url": url})
    candidate = stricter(Remote(tmp_path / "policy"))
    answer = (HELD, candidate)
    with program(settings, "first") as process, connected(settings) as client:
        own = beside(settings, tmp_path)
        with program(own, "second"), connected(own) as other:
            one, two = Rollouts(client), Rollouts(other)
            one.start(candidate, reason="killed soon")
            before = one.canary(RolloutSelector(percent=100), reason="killed soon")
            # Asked how the rollout stands, it follows it.
            assert two.current().rollout.moved == before.moved
            assert await decided(settings, ENOUGH) | await decided(own, ENOUGH) == {answer}
            for each in (one, two):
                assert (await compared(each, 2 * ENOUGH)).stricter == 2 * ENOUGH
            process.kill()
            process.wait()
            after = await asyncio.to_thread(two.current)
            found = after.rollout
            assert (found.rollout_id, found.stage, found.moved) == (before.rollout_id, before.stage, before.moved)
            assert (found.compared, found.stricter, len(found.samples)) == (2 * ENOUGH,) * 3
            assert await decided(own, 1) == {answer}
            assert (await compared(two, 2 * ENOUGH + 1)).stricter == 2 * ENOUGH + 1
            # Who starts again takes part again.
            with program(settings, "third"), connected(settings) as again:
                assert await decided(settings, 1) == {answer}
                for each in (Rollouts(again), two):
                    assert (await compared(each, 2 * ENOUGH + 2)).stricter == 2 * ENOUGH + 2
                two.roll_back(reason="it was killed")
                [(outcome, revision)] = await decided(settings, 1)
                assert (outcome, revision == candidate) == (ALLOWED, False)


async def test_a_replica_that_is_cut_off_decides_nothing_by_a_candidate_that_was_taken_back(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    database = await asyncio.to_thread(postgres.database)
    url = postgres.url(database)
    with link_to(postgres.socket) as link:
        async with two(tmp_path, url, other_url=over(link, database)) as (one, other):
            base = Remote(tmp_path / "policy").head()
            candidate = stricter(Remote(tmp_path / "policy"))
            await one.rollouts.start(StartCommand(candidate, ADA))
            await one.rollouts.canary(Selector(percent=100), ADA)
            await other.follows("CANARY")
            assert await other.decide() == {(HELD, candidate)}
            link.swallowed = BOTH
            await one.rollouts.rollback(BEN)
            # It knows no better than that the canary goes on, and can acknowledge nothing.
            assert other.rollouts.current is not None
            other.client.timeout_seconds = 4.0
            with pytest.raises(AisecopsClientError):
                await other.decide()
            link.heal()
            other.client.timeout_seconds = 60.0
            assert await other.decide() == {(ALLOWED, base)}
            behind, by = False, set()
            for kind, details in await one.events():
                behind = behind or kind == "rollout.rolled_back"
                if behind and kind == "decision.concluded":
                    by.add(details["bundle_revision"])
            assert by == {base}
