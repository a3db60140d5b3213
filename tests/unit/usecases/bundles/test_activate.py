"""Making a commit live and going back: order, failure at every point, and two at once."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest
from aisecops_server.domain.errors import (
    AisecopsError,
    BundleRejectedError,
    EngineUnavailableError,
    IntegrityError,
    LogUnavailableError,
    NoLiveRevisionError,
    RepositoryUnavailableError,
    UnknownRevisionError,
)
from aisecops_server.usecases.bundles.activate import ActivateCommand

from tests.fakes.policies import answer, commit_id
from tests.unit.usecases.control import ORDER, Control

pytestmark = pytest.mark.asyncio


@pytest.fixture
def control() -> Control:
    made = Control()
    made.repository.push(1)
    made.repository.push(2)
    made.repository.push(3)
    return made


async def test_nothing_decides_before_the_first_activation(control):
    with pytest.raises(NoLiveRevisionError) as refused:
        control.live.current()
    assert "sync" in refused.value.diagnostics()


async def test_a_commit_becomes_live_with_who_and_why_in_the_log_and_in_the_store(control):
    await control.make_live(commit_id(1))
    await control.make_live(commit_id(2))
    assert control.live.current().bundle.revision == commit_id(2)
    status = control.live.status()
    assert (status.live.commit.summary, status.previous.commit.summary) == ("commit 2", "commit 1")
    body = json.loads(control.log.events[-1].body)
    assert body["stage"] == "runtime_control"
    assert (
        body["details"]
        | {
            "revision": commit_id(2),
            "previous": commit_id(1),
            "principal": "ada",
            "reason": "because",
        }
        == body["details"]
    )
    live, previous = control.store.saved
    assert (live.revision, previous.revision) == (commit_id(2), commit_id(1))
    assert control.pool.retained == [live.digest, previous.digest]


async def test_the_log_knows_of_a_change_before_any_decision_uses_it(control):
    seen = []
    control.log.on_append = lambda _: seen.append(control.live_number)
    await control.make_live(commit_id(1))
    await control.make_live(commit_id(2))
    await control.rollback(ORDER)
    assert seen == [None, 1, 2]


async def test_a_name_is_resolved_after_reading_the_repository_again(control):
    await control.make_live("main")
    assert control.live_number == 3


async def test_a_commit_that_was_just_pushed_is_found_though_no_sync_ran(control):
    await control.make_live(commit_id(1))
    pushed = control.repository.push(4)
    await control.make_live(pushed)
    assert control.live_number == 4


async def test_a_known_commit_becomes_live_though_the_remote_is_away(control):
    await control.make_live(commit_id(1))
    control.repository.failure = RepositoryUnavailableError("away")
    await control.make_live(commit_id(2))
    assert control.live_number == 2


async def test_an_unknown_name_changes_and_logs_nothing(control):
    await control.make_live(commit_id(1))
    with pytest.raises(UnknownRevisionError):
        await control.make_live("f" * 40)
    assert control.live.status().problem == ""
    assert len(control.log.events) == 1


async def test_activating_what_is_live_changes_and_logs_nothing(control):
    await control.make_live(commit_id(1))
    await control.make_live(commit_id(1))
    assert control.previous_number is None
    assert len(control.log.events) == 1


def _allows(document: bytes) -> object:
    return answer(document, "ALLOW")


def _allows_known_tools(document: bytes) -> object:
    plan = json.loads(document).get("plan")
    return answer(document, "ALLOW" if plan and plan["steps"][0]["tool"] == "mail/send" else "DENY")


WRONG_ANSWERS = {
    "undefined": lambda document: None,
    "allows everything": _allows,
    "allows an unknown agent what the tables know": _allows_known_tools,
    "of another shape": lambda document: {"allow": True},
    "about other steps": lambda document: {**answer(document), "steps": []},
    "at odds with its findings": lambda document: {**answer(document), "findings": []},
}


@pytest.mark.parametrize("wrong", WRONG_ANSWERS)
async def test_a_revision_whose_answers_to_probes_are_wrong_never_becomes_live(control, wrong):
    await control.make_live(commit_id(1))
    control.pool.answers[commit_id(2)] = WRONG_ANSWERS[wrong]
    with pytest.raises(BundleRejectedError, match="the probe"):
        await control.make_live(commit_id(2))
    assert control.live_number == 1
    assert "the probe" in control.live.status().problem
    assert control.log.told()[-1] == ("bundle.rejected", 2, "ada")


async def test_an_engine_that_answers_for_another_revision_never_becomes_live(control):
    await control.make_live(commit_id(1))
    bundle = await control.builder.build(await control.repository.tree(commit_id(2)))
    (await control.pool.acquire(bundle)).revision = commit_id(1)
    with pytest.raises(BundleRejectedError, match="revision"):
        await control.make_live(commit_id(2))
    assert control.live_number == 1


FAILURES = [BundleRejectedError("broken"), EngineUnavailableError("no engine"), IntegrityError("no room")]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.reason)
@pytest.mark.parametrize("where", ["build", "start"])
async def test_what_fails_before_the_flip_leaves_the_last_good_revision_and_says_why(control, where, failure):
    await control.make_live(commit_id(1))
    (control.builder if where == "build" else control.pool).failures[commit_id(2)] = failure
    with pytest.raises(AisecopsError) as raised:
        await control.make_live(commit_id(2))
    assert raised.value is failure
    assert control.live_number == 1
    assert control.live.current().bundle.revision == commit_id(1)
    assert control.live.status().problem == failure.message
    assert control.log.told()[-1] == ("bundle.rejected", 2, "ada")
    assert control.store.saved[0].revision == commit_id(1)
    assert control.pool.anticipations == ["begun", "ended"] * 2


async def test_an_engine_is_anticipated_for_what_is_built_and_not_for_what_is_there(control):
    await control.make_live(commit_id(1))
    await control.make_live(commit_id(2))
    assert control.pool.anticipations == ["begun", "ended"] * 2
    await control.make_live(commit_id(1))
    await control.make_live(commit_id(2))
    assert control.pool.anticipations == ["begun", "ended"] * 2


async def test_a_later_success_clears_the_problem(control):
    control.builder.failures[commit_id(1)] = BundleRejectedError("broken")
    with pytest.raises(BundleRejectedError):
        await control.make_live(commit_id(1))
    assert "broken" in control.live.status().problem
    with pytest.raises(NoLiveRevisionError, match="no policy revision") as refused:
        control.live.current()
    assert "broken" in refused.value.diagnostics()
    await control.make_live(commit_id(2))
    assert control.live.status().problem == ""


async def test_a_change_that_cannot_be_logged_is_not_made(control):
    await control.make_live(commit_id(1))
    control.log.failing = True
    with pytest.raises(LogUnavailableError):
        await control.make_live(commit_id(2))
    with pytest.raises(UnknownRevisionError):
        await control.rollback(ORDER)
    assert control.live_number == 1
    assert control.store.saved[0].revision == commit_id(1)
    assert "not writable" in control.live.status().problem


async def test_a_rollback_that_cannot_be_logged_is_not_made(control):
    await control.make_live(commit_id(1))
    await control.make_live(commit_id(2))
    control.log.failing = True
    with pytest.raises(LogUnavailableError):
        await control.rollback(ORDER)
    assert control.live_number == 2


async def test_a_change_that_a_restart_would_forget_is_told(control):
    control.store.failure = LogUnavailableError("disk full")
    await control.make_live(commit_id(1))
    assert control.live_number == 1
    assert "would not survive a restart: disk full" in control.live.status().problem


async def test_a_rollback_swaps_live_and_previous_and_names_itself(control):
    await control.make_live(commit_id(1))
    await control.make_live(commit_id(2))
    before = control.live.previous.engine
    await control.rollback(ORDER)
    assert (control.live_number, control.previous_number) == (1, 2)
    assert control.live.current() is before
    assert control.log.told()[-1] == ("bundle.rolled_back", 1, "ada")
    await control.rollback(ORDER)
    assert (control.live_number, control.previous_number) == (2, 1)


async def test_there_is_nothing_to_roll_back_to_at_first(control):
    await control.make_live(commit_id(1))
    with pytest.raises(UnknownRevisionError, match="no previous"):
        await control.rollback(ORDER)


async def test_a_decision_under_way_keeps_the_engine_it_took(control):
    await control.make_live(commit_id(1))
    engine = control.live.current()
    engine.gate = asyncio.Event()
    document = json.dumps({"plan": {"steps": [{"id": "s1"}]}}).encode()
    under_way = asyncio.ensure_future(engine.evaluate(document, deadline_seconds=1.0))
    await control.make_live(commit_id(2))
    engine.gate.set()
    assert (await under_way).revision == commit_id(1)
    assert (await control.live.current().evaluate(document, deadline_seconds=1.0)).revision == commit_id(2)


async def test_decisions_go_on_while_a_candidate_starts(control):
    await control.make_live(commit_id(1))
    control.pool.starting, control.pool.reached = asyncio.Event(), asyncio.Event()
    activation = asyncio.ensure_future(control.make_live(commit_id(2)))
    await control.pool.reached.wait()
    assert control.live.current().bundle.revision == commit_id(1)
    control.pool.starting.set()
    await activation
    assert control.live_number == 2


async def test_two_activations_at_once_happen_one_after_the_other(control):
    await control.repository.fetch()
    await asyncio.gather(control.make_live(commit_id(1)), control.make_live(commit_id(2)))
    assert [told[:2] for told in control.log.told()] == [("bundle.activated", 1), ("bundle.activated", 2)]
    assert (control.live_number, control.previous_number) == (2, 1)
    previous = [json.loads(event.body)["details"]["previous"] for event in control.log.events]
    assert previous == ["", commit_id(1)]


async def test_the_same_commit_activated_twice_at_once_becomes_live_once(control):
    await control.repository.fetch()
    await asyncio.gather(control.make_live(commit_id(1)), control.make_live(commit_id(1)))
    assert len(control.log.events) == 1
    assert control.previous_number is None


async def test_a_caller_that_goes_away_does_not_leave_the_log_and_the_pointer_apart(control):
    await control.make_live(commit_id(1))
    control.log.gate = asyncio.Event()
    control.pool.reached.clear()
    caller = asyncio.ensure_future(control.activate(ActivateCommand(commit_id(2), ORDER)))
    await control.pool.reached.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    control.log.gate.set()
    async with control.switch.lock:  # the change under way still holds it
        pass
    assert control.live_number == 2
    assert control.log.told()[-1][:2] == ("bundle.activated", 2)
    assert control.store.saved[0].revision == commit_id(2)


async def test_engines_of_other_revisions_come_by_commit_or_name_and_change_nothing(control):
    await control.make_live(commit_id(3))
    assert await control.live.engine_at(commit_id(3)) is control.live.current()
    assert (await control.live.engine_at(commit_id(1))).bundle.revision == commit_id(1)
    assert (await control.live.engine_at("main")).bundle.revision == commit_id(3)
    with pytest.raises(UnknownRevisionError):
        await control.live.engine_at("f" * 40)
    assert control.live_number == 3
    assert control.previous_number is None


async def test_a_change_that_fails_after_who_asked_for_it_is_gone_is_no_fault_that_is_told(control):
    told, goes_on, is_begun = [], asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))

    async def change():
        is_begun.set()
        await goes_on.wait()
        raise EngineUnavailableError("the engines are stopped")

    asked = asyncio.ensure_future(control.switch.unbroken(change()))
    await is_begun.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    goes_on.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del asked
    gc.collect()
    assert told == []
    # Who waits hears of it as before.
    with pytest.raises(EngineUnavailableError):
        await control.switch.unbroken(change())
