"""A rollout is one of all replicas: each follows it, counts the same, and of two who move it one comes first."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from aisecops_server.adapters.postgres.rollouts import PostgresRollouts
from aisecops_server.domain.errors import ContendedError, RolloutRefusedError
from aisecops_server.domain.events.event import control_event
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.domain.rollouts.rollout import Proposal, RolloutStage, Selector, Voice
from aisecops_server.domain.rollouts.rollout_changes import MoveRollout, RequireRollout
from aisecops_server.domain.rollouts.rollout_tally import COMPARED, Tally
from aisecops_server.usecases.bundles.activate import ActivateCommand
from aisecops_server.usecases.rollouts.rollouts import RolloutStatus, StartCommand

from tests.integration.policy.test_rollout import ADA, BEN, stricter
from tests.scenes.planes.shared_rollouts import ALLOWED, HELD, two
from tests.scenes.policy.git_remotes import Remote
from tests.scenes.servers.postgres_servers import PostgresServer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]
ALL = Selector(percent=100)


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def url(postgres: PostgresServer, database: str) -> str:
    return postgres.url(database)


async def outcomes(*asked: object) -> list[object]:
    return list(await asyncio.gather(*asked, return_exceptions=True))  # type: ignore[call-overload]


def one_was_first(found: list[object]) -> None:
    """One of two moved the rollout, the other is told to look again."""
    refused = [each for each in found if isinstance(each, RolloutRefusedError)]
    assert [type(each) for each in found if each not in refused] == [RolloutStatus]
    assert len(refused) == 1


async def test_what_one_replica_rolls_out_is_followed_and_counted_by_all_of_them(url: str, tmp_path: Path) -> None:
    async with two(tmp_path, url) as (one, other):
        base = Remote(tmp_path / "policy").head()
        candidate = stricter(Remote(tmp_path / "policy"))
        await one.rollouts.start(StartCommand(candidate, ADA))
        await other.follows("SHADOW")
        assert await one.decide(2) | await other.decide(3) == {(ALLOWED, base)}
        seen = [await each.compared(5) for each in (one, other)]
        assert [(each.tally.compared, each.tally.stricter, each.tally.answered) for each in seen] == [(5, 5, 5)] * 2
        assert seen[0].rollout == seen[1].rollout
        # Moved at the other one.
        await other.rollouts.canary(ALL, BEN)
        await one.follows("CANARY")
        assert await one.decide(2) | await other.decide(2) == {(HELD, candidate)}
        seen = [
            await each.status(lambda status: (status.tally.compared, status.tally.answered) >= (9, 9))
            for each in (one, other)
        ]
        assert [(each.tally.compared, each.tally.stricter, each.tally.answered) for each in seen] == [(9, 9, 9)] * 2
        events = await one.events()
        assert [kind for kind, _ in events].count(COMPARED) == 9
        await one.rollouts.rollback(ADA)
        assert await one.decide() | await other.decide() == {(ALLOWED, base)}
        ended = [await each.status(lambda status: not status.rollout.stage.is_under_way) for each in (one, other)]
        assert [(each.rollout.stage, each.rollout.moved.by, each.tally.compared) for each in ended] == [
            (RolloutStage.ROLLED_BACK, "ada", 9)
        ] * 2
        assert await one.steps() == {"rollout.started": 1, "rollout.canary_set": 1, "rollout.rolled_back": 1}


async def test_nothing_that_a_candidate_decided_is_on_record_behind_the_step_that_took_it_back(
    url: str, tmp_path: Path
) -> None:
    async with two(tmp_path, url) as (one, other):
        base = Remote(tmp_path / "policy").head()
        candidate = stricter(Remote(tmp_path / "policy"))
        for _ in range(3):
            await one.rollouts.start(StartCommand(candidate, ADA))
            await one.rollouts.canary(ALL, ADA)
            await other.follows("CANARY")
            assert await other.decide() == {(HELD, candidate)}
            # The other one has not heard of it: what it decides is held against the log.
            asking = [asyncio.create_task(other.decide()) for _ in range(4)]
            await one.rollouts.abort(BEN)
            assert await other.decide() == {(ALLOWED, base)}
            await asyncio.gather(*asking)
            await other.follows("")
        by_candidate = False
        for kind, details in await one.events():
            if kind in ("rollout.canary_set", "rollout.aborted"):
                by_candidate = kind == "rollout.canary_set"
            if kind == "decision.concluded" and details["bundle_revision"] == candidate:
                assert by_candidate


async def test_of_two_who_move_a_rollout_at_once_one_comes_first(url: str, tmp_path: Path) -> None:
    async with two(tmp_path, url) as (one, other):
        candidate = stricter(Remote(tmp_path / "policy"))
        both = (one.rollouts, other.rollouts)
        one_was_first(await outcomes(*(each.start(StartCommand(candidate, ADA)) for each in both)))
        assert (await one.steps())["rollout.started"] == 1
        one_was_first(await outcomes(both[0].rollback(ADA), both[1].abort(BEN)))
        steps = await one.steps()
        assert steps["rollout.rolled_back"] + steps["rollout.aborted"] == 1
        await both[0].start(StartCommand(candidate, ADA))
        one_was_first(await outcomes(both[0].promote(ADA, force=True), both[1].abort(BEN)))
        events = await one.events()
        ends = [kind for kind, _ in events if kind in ("rollout.promoted", "rollout.aborted")][-1]
        # What became live is what the end says.
        became_live = [details["revision"] for kind, details in events if kind == "bundle.activated"]
        assert (ends == "rollout.promoted") == (candidate in became_live)
        # Who comes second says nothing about the revision.
        assert "bundle.rejected" not in [kind for kind, _ in events]


async def test_a_promotion_is_one_step_with_what_is_live_and_is_taken_back_at_any_replica(
    url: str, tmp_path: Path
) -> None:
    async with two(tmp_path, url) as (one, other):
        base = Remote(tmp_path / "policy").head()
        candidate = stricter(Remote(tmp_path / "policy"))
        await one.rollouts.start(StartCommand(candidate, ADA))
        await other.follows("SHADOW")
        await one.rollouts.promote(ADA, force=True)
        kinds = [kind for kind, _ in await one.events()]
        assert kinds.index("rollout.promoted") == kinds.index("bundle.activated", kinds.index("rollout.started")) + 1
        # At once, and not when the branch is looked at again, in an hour.
        await other.follows("")
        assert await one.decide() | await other.decide() == {(HELD, candidate)}
        one_was_first(await outcomes(*(each.rollouts.rollback(BEN) for each in (one, other))))
        for each in (one, other):
            await each.rollouts.follow()
            assert await each.decide() == {(ALLOWED, base)}
        kinds = [kind for kind, _ in await one.events()]
        assert (kinds.count("rollout.rolled_back"), kinds.count("bundle.rolled_back")) == (1, 1)


async def test_nothing_that_a_promoted_candidate_decided_is_on_record_behind_the_step_that_took_it_back(
    url: str, tmp_path: Path
) -> None:
    async with two(tmp_path, url) as (one, other):
        base = Remote(tmp_path / "policy").head()
        candidate = stricter(Remote(tmp_path / "policy"))
        for _ in range(2):
            # Without a canary: the other one hears of the promotion only.
            await one.rollouts.start(StartCommand(candidate, ADA))
            await other.follows("SHADOW")
            await one.rollouts.promote(ADA, force=True)
            await other.follows("")
            assert await other.decide() == {(HELD, candidate)}
            await one.rollouts.rollback(BEN)
            # It has not heard of it: what it decides by the candidate is refused, and anew by what is live.
            await outcomes(*(other.decide() for _ in range(8)))
            await other.rollouts.follow()
            assert await other.decide() == {(ALLOWED, base)}
        is_live = False
        for kind, details in await one.events():
            if kind in ("rollout.promoted", "rollout.rolled_back"):
                is_live = kind == "rollout.promoted"
            if kind == "decision.concluded" and details["bundle_revision"] == candidate:
                assert is_live
        # Made live in another way it decides again: it is nobody's candidate.
        await one.plane.policy.activate(ActivateCommand(candidate, ADA))
        assert await one.decide() == {(HELD, candidate)}


async def test_what_became_live_elsewhere_is_tried_until_it_is_served(url: str, tmp_path: Path) -> None:
    async with two(tmp_path, url, is_apart=True) as (one, other):
        base = Remote(tmp_path / "apart").head()
        candidate = stricter(Remote(tmp_path / "policy"))
        await one.rollouts.start(StartCommand(candidate, ADA))
        await one.rollouts.promote(ADA, force=True)
        await other.rollouts.follow()
        assert await other.decide() == {(ALLOWED, base)}
        # It gets the commit, and would look at its branch in an hour.
        shutil.copytree(tmp_path / "policy", tmp_path / "apart", dirs_exist_ok=True)
        async with asyncio.timeout(60):
            while True:
                if await other.decide() == {(HELD, candidate)}:
                    break
                await asyncio.sleep(0.2)


async def test_what_becomes_live_elsewhere_ends_the_rollout_once(url: str, tmp_path: Path) -> None:
    async with two(tmp_path, url) as (one, other):
        remote = Remote(tmp_path / "policy")
        await one.rollouts.start(StartCommand(stricter(remote), ADA))
        await one.rollouts.canary(ALL, ADA)
        await other.follows("CANARY")
        live = remote.commit({"data/modes.yaml": b"default: enforce\nagents: {}\nrules: {}\n"}, "other")
        await one.plane.policy.activate(ActivateCommand(live, BEN))
        for each in (one, other):
            ended = await each.status(lambda status: not status.rollout.stage.is_under_way)
            assert (ended.rollout.stage, ended.rollout.moved.by) == (RolloutStage.ABORTED, "control-plane")
            assert await each.decide() == {(ALLOWED, live)}
        assert (await one.steps())["rollout.aborted"] == 1


async def test_a_replica_that_cannot_ask_the_candidate_says_so_and_its_canary_counts_against_it(
    url: str, tmp_path: Path
) -> None:
    gates = "rollout: {seconds: 0, decisions: 1, least: 6}\n"
    async with two(tmp_path, url, gates=gates, is_apart=True) as (one, other):
        base = Remote(tmp_path / "policy").head()
        candidate = stricter(Remote(tmp_path / "policy"))
        await one.rollouts.start(StartCommand(candidate, ADA))
        await other.follows("SHADOW")
        # Nobody knows what the candidate would have said of it.
        assert await other.decide() == {(ALLOWED, base)}
        told = await one.status(lambda status: status.tally.dropped == 1 and len(status.problems) > 1)
        assert (told.tally.compared, told.tally.errors) == (0, 0)
        assert "a replica cannot ask the candidate" in "; ".join(told.problems)
        with pytest.raises(RolloutRefusedError, match="a replica cannot ask the candidate"):
            await one.rollouts.promote(ADA)
        await one.rollouts.canary(ALL, ADA)
        await other.follows("CANARY")
        assert await one.decide(2) == {(HELD, candidate)}
        # Neither refused, nor told to be the candidate's: it is on record who decided.
        assert await other.decide(4) == {(ALLOWED, base)}
        for each in (one, other):
            ended = await each.status(lambda status: not status.rollout.stage.is_under_way)
            assert (ended.rollout.stage, ended.rollout.moved.by) == (RolloutStage.ROLLED_BACK, "control-plane")
            assert ended.tally.errors == 4
        assert (await one.steps())["rollout.rolled_back"] == 1


async def test_a_tally_that_was_counted_less_far_changes_nothing(url: str, tmp_path: Path) -> None:
    async with two(tmp_path, url) as (one, _other):
        started = await one.rollouts.start(StartCommand(stricter(Remote(tmp_path / "policy")), ADA))
        rollout, size = started.rollout, (await one.plane.log.head()).size
        newer, older = (PostgresRollouts(url, name) for name in ("newer", "older"))
        further = Tally(compared=7, same=7, counted_to=size + 100)
        await newer.save(rollout, further)
        await older.save(rollout, Tally(compared=3, same=3, counted_to=size))
        assert (await older.recent(1))[0][1] == further
        # Shares are replaced whole, and each has its own.
        for _ in range(2):
            await newer.share(rollout.id, Tally(answered=2, dropped=1), "")
            await older.share(rollout.id, Tally(answered=5, errors=1), "no engine")
        known = await newer.known()
        assert known is not None
        assert (known.others.answered, known.others.errors, known.problems) == (5, 1, ("no engine",))
        [(_, total)] = await older.recent(1)
        assert (total.compared, total.answered, total.errors, total.dropped) == (7, 7, 1, 1)
        # Who asked for a change that waits for somebody else is known at every replica.
        asked = Proposal("promote it", "1" * 40, (Voice("ada", "it is time", 1),))
        await newer.propose(asked)
        assert await older.proposal("promote it") == asked
        # What others ask, for another base or in the same moment, takes nobody's voice away and fails nobody.
        await older.propose(replace(asked, base="2" * 40, subject="another"))
        assert await newer.proposal("promote it") == asked
        await asyncio.gather(*(store.propose(replace(asked, subject="at once")) for store in (newer, older) * 10))
        await older.propose(replace(asked, voices=()))
        assert await newer.proposal("promote it") is None
        for store in (newer, older):
            store.close()


async def test_the_log_holds_every_step_against_the_one_before(
    url: str, database: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    async with two(tmp_path, url) as (one, _other):
        rollout = (await one.rollouts.start(StartCommand(stricter(Remote(tmp_path / "policy")), ADA))).rollout
        canary = (await one.rollouts.canary(ALL, ADA)).rollout
        size = (await one.plane.log.head()).size
        stale = (
            MoveRollout(rollout.at(RolloutStage.ABORTED, rollout.moved, counted=0), Tally().as_json()),
            MoveRollout(replace(rollout, id="rol-second"), Tally().as_json()),
            RequireRollout(rollout.id, rollout.step),
            RequireRollout("rol-unknown", canary.step),
        )
        for change in stale:
            told = {"rollout": rollout.id}
            event = control_event("rollout.aborted", told, id=one.plane.ids.event_id(), now_ns=one.plane.clock.now_ns())
            with pytest.raises(ContendedError) as refused:
                await one.plane.log.append_change(ChangeRecord((event,), (change,)))
            assert refused.value.metadata()["what"] == "rollout"
        assert (await one.plane.log.head()).size == size
        for statement in ("UPDATE aisecops.rollout SET step = 0", "DELETE FROM aisecops.rollout"):
            with pytest.raises(Exception, match="only moves forward"):
                await asyncio.to_thread(postgres.run, statement, database)
