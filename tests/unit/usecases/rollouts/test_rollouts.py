"""A rollout on fakes: what is promoted, what counts, and what happens when a step breaks in the middle."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

import pytest
import pytest_asyncio
from aisecops_server.domain.bundles.bundle import BundleDigest
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.errors import (
    ApprovalNotUsableError,
    BundleRejectedError,
    EngineUnavailableError,
    LogUnavailableError,
)
from aisecops_server.domain.events.event import StoredEvent
from aisecops_server.domain.log.record import LogHead
from aisecops_server.domain.rollouts.rollout import RolloutStage, Selector
from aisecops_server.usecases.rollouts.rollouts import Rollouts, StartCommand
from aisecops_server.usecases.rollouts.shadow import MOST_WAITING, Shadow

from tests.fakes.policies import CountingIds, FakeLog, FixedClock, commit_id
from tests.fakes.rollouts import FixedGates, MemoryRollouts, confirmed
from tests.scenes.log.records import Records
from tests.unit.usecases.control import ORDER, Control

pytestmark = pytest.mark.asyncio


@dataclass
class FullLog(FakeLog):
    """A log that can be read again."""

    async def head(self) -> LogHead:
        return LogHead(len(self.events), b"")

    async def events_from(self, from_index: int) -> AsyncGenerator[StoredEvent, None]:
        for index, event in enumerate(self.events[from_index:], from_index):
            yield StoredEvent(event, index, b"")


class ReadableLog:
    """The log as a shadow reads and writes it."""

    def __init__(self, log: FullLog) -> None:
        self.log = log
        self.append_event, self.head = log.append_event, log.head

    def events(self, *, from_index: int, follow: bool, trace_id: str) -> AsyncGenerator[StoredEvent, None]:
        assert (follow, trace_id) == (False, "")
        return self.log.events_from(from_index)


class Ids(CountingIds):
    def nonce(self) -> str:
        return "n" * 32


@dataclass
class Scene:
    control: Control
    rollouts: Rollouts
    store: MemoryRollouts
    records: Records = field(default_factory=Records)

    def decide(self, number: int, *, mode: Mode = Mode.ENFORCE) -> None:
        """Tell the rollout of a decision by commit ``number``."""
        record = self.records.record()
        decision = replace(record.decision, mode=mode, bundle_digest=BundleDigest(f"digest-v1-{commit_id(number)}"))
        self.rollouts.decided(replace(record, decision=decision), {})

    def restarted(self, control: Control) -> Rollouts:
        return made(control, self.store)


def made(control: Control, store: MemoryRollouts) -> Rollouts:
    control.switch.ids = Ids()
    return Rollouts(
        switch=control.switch,
        activate=control.activate,
        roll_back=control.rollback,
        follow_live=control.resume.follow,
        store=store,
        gates=FixedGates(),
        shadow=Shadow(ReadableLog(control.log), FixedClock(), Ids(), deadline_seconds=1.0),
        confirm=confirmed,
    )


@pytest_asyncio.fixture
async def scene() -> Scene:
    control = Control(log=FullLog())
    for number in (1, 2, 3):
        control.repository.push(number)
    await control.make_live(commit_id(1))
    store = MemoryRollouts()
    rollouts = made(control, store)
    await rollouts.start(StartCommand(commit_id(2), ORDER))
    return Scene(control, rollouts, store)


async def test_another_bundle_than_the_one_that_was_watched_is_not_promoted(scene: Scene) -> None:
    bundle = scene.control.builder.store[commit_id(2)]
    scene.control.builder.store[commit_id(2)] = replace(bundle, digest=BundleDigest("another"))
    with pytest.raises(BundleRejectedError, match="another bundle than the one that was watched"):
        await scene.rollouts.promote(ORDER, force=True)
    assert scene.control.live_number == 1
    assert scene.rollouts.current is not None


async def test_a_branch_that_moves_while_it_is_watched_does_not_move_the_candidate(scene: Scene) -> None:
    await scene.rollouts.abort(ORDER)
    await scene.rollouts.start(StartCommand("main", ORDER))
    scene.control.repository.push(4)
    promoted = await scene.rollouts.promote(ORDER, force=True)
    assert (scene.control.live_number, promoted.rollout.candidate.revision) == (3, commit_id(3))


async def test_dry_runs_and_decisions_of_other_revisions_are_not_compared(scene: Scene) -> None:
    scene.decide(1, mode=Mode.DRY_RUN)
    scene.decide(3)
    assert len(scene.rollouts.room.waiting) == 0
    scene.decide(1)
    assert len(scene.rollouts.room.waiting) == 1


async def test_what_finds_no_room_is_dropped_and_counted_and_nobody_waits(scene: Scene) -> None:
    for _ in range(MOST_WAITING + 7):
        scene.decide(1)
    status = await scene.rollouts.status()
    assert status is not None
    assert (len(scene.rollouts.room.waiting), status.tally.dropped) == (MOST_WAITING, 7)


async def test_only_an_engine_that_gives_no_decision_counts_as_failed(scene: Scene) -> None:
    bundle = scene.control.builder.store[commit_id(2)]
    scene.rollouts.failed(bundle, ApprovalNotUsableError("used up"))
    scene.rollouts.failed(scene.control.builder.store[commit_id(1)], EngineUnavailableError("gone"))
    status = await scene.rollouts.status()
    assert status is not None
    assert status.tally.errors == 0
    for _ in range(20):
        scene.rollouts.failed(bundle, EngineUnavailableError("gone"))
    await scene.rollouts.ask([])
    ended = await scene.rollouts.status()
    assert ended is not None
    assert (ended.rollout.stage, ended.rollout.moved.by) == (RolloutStage.ROLLED_BACK, "control-plane")


async def test_a_step_that_cannot_be_logged_is_not_made(scene: Scene) -> None:
    scene.control.log.failing = True
    with pytest.raises(LogUnavailableError):
        await scene.rollouts.canary(Selector(percent=100), ORDER)
    assert scene.rollouts.engine_for("anybody") is None
    with pytest.raises(LogUnavailableError):
        await scene.rollouts.abort(ORDER)
    assert scene.rollouts.current is not None


async def test_a_process_that_ended_between_activation_and_its_note_has_promoted(scene: Scene) -> None:
    await scene.control.make_live(commit_id(2))
    again = scene.control.restarted()
    await again.resume()
    rollouts = scene.restarted(again)
    await rollouts.resume()
    status = await rollouts.status()
    assert status is not None
    assert (again.live_number, status.rollout.stage) == (2, RolloutStage.PROMOTED)


async def test_a_rollout_whose_base_is_not_live_after_a_restart_ends(scene: Scene) -> None:
    await scene.rollouts.canary(Selector(percent=100), ORDER)
    await scene.control.make_live(commit_id(3))
    assert scene.rollouts.engine_for("anybody") is None
    again = scene.control.restarted()
    await again.resume()
    rollouts = scene.restarted(again)
    await rollouts.resume()
    status = await rollouts.status()
    assert status is not None
    assert (status.rollout.stage, rollouts.engine_for("anybody")) == (RolloutStage.ABORTED, None)
