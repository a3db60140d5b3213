"""Following a branch: new heads, rewritten history, people's wishes, restarts, and a poller that never ends."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from aisecops_server.domain.errors import (
    BundleRejectedError,
    EngineUnavailableError,
    IntegrityError,
    LogUnavailableError,
    RepositoryUnavailableError,
)
from aisecops_server.usecases.bundles.sync import Poller

from tests.fakes.policies import answer, commit_id
from tests.scenes.planes.engines import until
from tests.unit.usecases.control import ORDER, Control

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def control() -> Control:
    """Two commits, the second live by following."""
    made = Control()
    made.repository.push(1)
    await made.sync()
    made.repository.push(2)
    await made.sync()
    return made


async def test_a_new_head_becomes_live_by_itself(control):
    assert (control.live_number, control.previous_number) == (2, 1)
    assert control.log.told() == [("bundle.activated", 1, "control-plane"), ("bundle.activated", 2, "control-plane")]
    status = control.live.status()
    assert (status.wanted, status.problem, status.synced_at_ns > 0) == (commit_id(2), "", True)


async def test_an_unchanged_head_changes_and_logs_nothing(control):
    await control.sync()
    assert len(control.log.events) == 2
    assert control.builder.built == [commit_id(1), commit_id(2)]


async def test_an_unreachable_remote_is_told_and_keeps_the_last_good_revision(control):
    control.repository.failure = RepositoryUnavailableError("away")
    with pytest.raises(RepositoryUnavailableError):
        await control.sync()
    assert control.live_number == 2
    assert control.live.status().problem == "away"
    control.repository.failure = None
    await control.sync()
    assert control.live.status().problem == ""


async def test_a_sync_that_began_earlier_does_not_tell_after_a_later_one(control):
    control.repository.gate = asyncio.Event()
    slow = asyncio.create_task(control.sync())
    await until(lambda: control.repository.fetches == 3)
    control.repository.failure = RepositoryUnavailableError("away")
    later = asyncio.create_task(control.sync())
    # It gets as far as it can.
    for _ in range(100):
        await asyncio.sleep(0)
    control.repository.gate.set()
    await asyncio.gather(slow, later, return_exceptions=True)
    assert control.live.status().problem == "away"


async def test_a_sync_that_began_earlier_does_not_make_an_older_head_live_after_a_later_one(control):
    older = control.repository.push(3)
    control.repository.slow[older] = asyncio.Event()
    slow = asyncio.create_task(control.sync())
    await until(lambda: control.repository.asked_of == [older])
    control.repository.push(4)
    later = asyncio.create_task(control.sync())
    # It gets as far as it can.
    for _ in range(100):
        await asyncio.sleep(0)
    control.repository.slow[older].set()
    await asyncio.gather(slow, later)
    assert (control.live_number, control.previous_number, control.live.status().problem) == (4, 3, "")
    assert [kind for kind, *_ in control.log.told()] == ["bundle.activated"] * 4


async def test_a_broken_head_is_told_once_in_the_log_and_in_every_status(control):
    broken = control.repository.push(3)
    control.builder.failures[broken] = BundleRejectedError("rego/x.rego:3: broken")
    for _ in range(3):
        with pytest.raises(BundleRejectedError, match="broken"):
            await control.sync()
    assert control.live_number == 2
    assert control.live.status().wanted == broken
    assert "broken" in control.live.status().problem
    assert control.builder.built.count(broken) == 1
    assert [told for told in control.log.told() if told[0] == "bundle.rejected"] == [
        ("bundle.rejected", 3, "control-plane")
    ]


async def test_a_mended_head_becomes_live_and_clears_the_problem(control):
    control.builder.failures[control.repository.push(3)] = BundleRejectedError("broken")
    with pytest.raises(BundleRejectedError):
        await control.sync()
    control.repository.push(4)
    await control.sync()
    assert control.live_number == 4
    assert control.live.status().problem == ""


async def test_an_engine_that_would_not_start_is_tried_again(control):
    head = control.repository.push(3)
    control.pool.failures[head] = EngineUnavailableError("no memory")
    with pytest.raises(EngineUnavailableError):
        await control.sync()
    del control.pool.failures[head]
    await control.sync()
    assert control.live_number == 3


async def test_rewritten_history_is_refused_until_a_person_activates_the_commit(control):
    control.repository.push(3, parent=1)
    for _ in range(3):
        with pytest.raises(BundleRejectedError, match="history was rewritten") as refused:
            await control.sync()
    assert f"bundle activate {commit_id(3)}" in refused.value.diagnostics()
    assert control.live_number == 2
    assert "history was rewritten" in control.live.status().problem
    assert [told[0] for told in control.log.told()].count("bundle.rejected") == 1
    await control.make_live(commit_id(3))
    assert control.live_number == 3
    assert control.live.status().problem == ""
    control.repository.push(4)
    await control.sync()
    assert control.live_number == 4


async def test_what_is_pushed_on_top_of_rewritten_history_is_refused_too(control):
    control.repository.push(3, parent=1)
    control.repository.push(4)
    with pytest.raises(BundleRejectedError, match="rewritten"):
        await control.sync()
    assert control.live_number == 2


async def test_going_back_by_hand_during_an_attack_does_not_bless_the_rewritten_branch(control):
    control.repository.push(3, parent=1)
    with pytest.raises(BundleRejectedError):
        await control.sync()
    await control.make_live(commit_id(1))
    control.repository.push(4)
    with pytest.raises(BundleRejectedError, match="rewritten"):
        await control.sync()
    assert control.live_number == 1


async def test_a_branch_that_is_set_right_again_is_followed_again(control):
    control.repository.push(3, parent=1)
    with pytest.raises(BundleRejectedError):
        await control.sync()
    control.repository.remote = commit_id(2)
    await control.sync()
    assert control.live.status().problem == ""
    control.repository.push(5)
    await control.sync()
    assert control.live_number == 5


async def test_a_rollback_stays_until_something_new_is_pushed(control):
    await control.rollback(ORDER)
    await control.sync()
    assert control.live_number == 1
    control.repository.push(3)
    await control.sync()
    assert control.live_number == 3


async def test_an_older_commit_that_a_person_activated_stays_until_something_new_is_pushed(control):
    control.repository.push(3)
    await control.sync()
    await control.make_live(commit_id(1))
    await control.sync()
    assert control.live_number == 1
    control.repository.push(4)
    await control.sync()
    assert control.live_number == 4


async def test_two_syncs_at_once_activate_a_head_once(control):
    control.repository.push(3)
    await asyncio.gather(control.sync(), control.sync())
    assert control.live_number == 3
    assert len(control.log.events) == 3


async def test_a_restart_serves_what_was_live_without_asking_the_remote_or_building(control):
    control.repository.failure = RepositoryUnavailableError("away")
    built = list(control.builder.built)
    again = control.restarted()
    await again.resume()
    assert (again.live_number, again.previous_number) == (2, 1)
    assert again.builder.built == built
    assert len(control.log.events) == 2
    with pytest.raises(RepositoryUnavailableError):
        await again.sync()
    assert again.live_number == 2
    await again.rollback(ORDER)
    assert again.live_number == 1


async def test_a_restart_remembers_a_rollback(control):
    await control.rollback(ORDER)
    again = control.restarted()
    await again.resume()
    await again.sync()
    assert (again.live_number, again.previous_number) == (1, 2)


async def test_a_restart_still_refuses_rewritten_history(control):
    control.repository.push(3, parent=1)
    again = control.restarted()
    await again.resume()
    with pytest.raises(BundleRejectedError, match="rewritten"):
        await again.sync()
    assert again.live_number == 2


async def test_a_restart_rebuilds_a_stored_bundle_that_no_longer_verifies(control):
    control.builder.store.clear()
    again = control.restarted()
    await again.resume()
    assert again.live_number == 2
    assert again.builder.built[-2:] == [commit_id(2), commit_id(1)]


async def test_a_restart_with_another_product_version_logs_the_rebuilt_bundle_before_it_decides(control):
    control.builder.store.clear()
    control.builder.version = "v2"
    again = control.restarted()
    await again.resume()
    assert again.live_number == 2
    assert control.log.told()[-1] == ("bundle.activated", 2, "control-plane")
    assert again.store.saved[0].digest == again.live.current().bundle.digest


async def test_a_restart_probes_again_and_serves_nothing_that_fails(control):
    again = control.restarted()
    again.pool.answers[commit_id(2)] = lambda document: answer(document, "ALLOW")
    with pytest.raises(BundleRejectedError, match="the probe"):
        await again.resume()
    assert again.live_number is None
    assert "cannot be served again" in again.live.status().problem


async def test_a_start_that_could_not_resume_is_mended_by_a_later_sync(control):
    again = control.restarted()
    again.pool.failures[commit_id(2)] = EngineUnavailableError("no memory")
    with pytest.raises(EngineUnavailableError):
        await again.resume()
    with pytest.raises(EngineUnavailableError):
        await again.sync()
    assert again.live_number is None
    again.pool.failures.clear()
    await again.sync()
    assert again.live_number == 2
    assert again.live.status().problem == ""


async def test_a_previous_revision_that_cannot_be_served_does_not_keep_the_live_one_from_deciding(control):
    again = control.restarted()
    again.pool.failures[commit_id(1)] = EngineUnavailableError("no memory")
    await again.resume()
    assert (again.live_number, again.previous_number) == (2, None)
    assert "previous revision is not ready" in again.live.status().problem


@pytest.mark.parametrize("failure", [IntegrityError("damaged"), LogUnavailableError("locked")])
async def test_when_what_was_live_cannot_be_known_nothing_becomes_live_by_itself(control, failure):
    again = control.restarted()
    again.store.failure = failure
    with pytest.raises(type(failure)):
        await again.sync()
    assert again.live_number is None


async def test_a_first_start_has_nothing_to_resume():
    fresh = Control()
    assert (await fresh.resume()).live is None


async def test_the_poller_goes_on_after_every_kind_of_failure_with_pauses_about_the_interval():
    pauses: list[float] = []
    failures = [RepositoryUnavailableError("away"), ValueError("a mistake of ours"), None]
    chances = iter([0.0, 0.5, 1.0])

    async def sync():
        failure = failures[len(pauses)]
        if failure is not None:
            raise failure

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == len(failures):
            raise asyncio.CancelledError

    poller = Poller(sync, interval_seconds=10.0, pause=pause, chance=lambda: next(chances))
    with pytest.raises(asyncio.CancelledError):
        await poller.run()
    assert pauses == [8.0, 10.0, 12.0]


async def test_the_poller_says_the_same_problem_once_and_when_it_is_over(caplog):
    caplog.set_level("INFO")
    away, broken = RepositoryUnavailableError("away"), RepositoryUnavailableError("broken")
    rounds = iter([away, away, broken, None, None, away])

    async def sync():
        failure = next(rounds, asyncio.CancelledError())
        if failure is not None:
            raise failure

    async def pause(_seconds: float) -> None:
        """Go on at once."""

    with pytest.raises(asyncio.CancelledError):
        await Poller(sync, interval_seconds=10.0, pause=pause).run()
    # Whatever else is being torn down may say something of its own.
    own = [record.message for record in caplog.records if record.name == Poller.__module__]
    said = [message.removeprefix("policy was not synced: ") for message in own]
    assert said == ["away", "broken", "policy is synced again", "away"]
