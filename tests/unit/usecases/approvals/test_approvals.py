"""Asking people and using what they gave: bound to everything they saw, once, in time, on the live policy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from aisecops_server.domain.approvals.approval import ApprovalFilter, ApprovalState, Choice
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.decisions.decision import Mode, Outcome
from aisecops_server.domain.errors import (
    AisecopsError,
    ApprovalNotUsableError,
    IdempotencyConflictError,
    NotFoundError,
    NotPermittedError,
    OverloadedError,
)

from tests.scenes.approvals.approval_scene import AGENT, OTHER_AGENT, PAY, ApprovalScene, approval_scene, principal

pytestmark = pytest.mark.asyncio


async def why(asking: object) -> str:
    """Return why an approval was not usable."""
    with pytest.raises(ApprovalNotUsableError) as refused:
        await asking  # type: ignore[misc]
    return refused.value.metadata()["why"]


async def state(scene: ApprovalScene, approval_id: str) -> str:
    return (await scene.store.approval(approval_id)).state.value


async def test_what_needs_people_opens_one_request_which_is_found_again(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        first = await scene.asked()
        assert [await scene.asked(), await scene.asked()] == [first, first]
        other = await scene.asked(agent=OTHER_AGENT)
        changed = await scene.asked(arguments=PAY.replace(b"500", b"501"))
        assert len({first, other, changed}) == 3
        approval = await scene.store.approval(first)
        assert (approval.request.agent_id, approval.state, approval.version) == (AGENT, "REQUESTED", 0)
        assert [event.details()["approval_id"] for event in await scene.events("approval.requested")] == [
            first,
            other,
            changed,
        ]


async def test_many_who_ask_for_the_same_at_once_get_one_request(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        asked = await asyncio.gather(*(scene.asked() for _ in range(32)))
        assert len(set(asked)) == 1
        assert len(await scene.events("approval.requested")) == 1


async def test_a_batch_and_a_dry_run_ask_as_they_should(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        dry = await scene.ask(mode=Mode.DRY_RUN)
        assert (dry.outcome, "approval_id" in dry.details) == (Outcome.REQUIRE_APPROVAL, False)
        results = await scene.decide.batch([scene.command() for _ in range(4)])
        ids = {result.details["approval_id"] for result in results if not isinstance(result, AisecopsError)}
        assert len(ids) == 1
        assert len(await scene.events("approval.requested")) == 1


async def test_a_granted_approval_lets_exactly_its_plan_run_once(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        used = await scene.ask(approval=approval_id)
        assert (used.outcome, used.details["approval_id"], used.details["approved_by"]) == (
            Outcome.ALLOW,
            approval_id,
            approval_id,
        )
        assert await state(scene, approval_id) == "CONSUMED"
        assert (await scene.store.approval(approval_id)).consumed_by == used.details["decision_id"]
        assert await why(scene.ask(approval=approval_id)) == "consumed"
        # Whoever asks without it starts anew.
        assert await scene.asked() != approval_id


async def test_a_retry_of_the_use_is_the_same_answer_and_no_second_use(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        first = await scene.ask(approval=approval_id, key="once")
        again = await scene.ask(approval=approval_id, key="once")
        assert (again.details, again.receipt.replayed) == (first.details, True)
        assert len(await scene.events("approval.consumed")) == 2  # in the trace that asked, and in that which used it
        with pytest.raises(IdempotencyConflictError):
            await scene.ask(key="once")


async def test_an_approval_stands_for_nothing_else_than_was_asked(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        assert await why(scene.ask(arguments=PAY.replace(b"500", b"501"), approval=approval_id)) == "other_plan"
        assert await why(scene.ask(arguments=PAY.replace(b"NL91", b"NL92"), approval=approval_id)) == "other_plan"
        assert await why(scene.ask("bank/read", approval=approval_id)) == "other_plan"
        assert await why(scene.ask(agent=OTHER_AGENT, approval=approval_id)) == "other_agent"
        assert await why(scene.ask(approval="apr-0")) == "unknown"
        refusals = await scene.events("decision.refused")
        told = [event.details() for event in refusals]
        assert [item["metadata"]["why"] for item in told] == ["other_plan"] * 3 + ["other_agent", "unknown"]
        assert {item["reason"] for item in told} == {"APPROVAL_NOT_USABLE"}
        # None of that spoilt it.
        assert (await scene.ask(approval=approval_id)).outcome is Outcome.ALLOW


async def test_an_approval_is_of_no_use_when_the_tool_is_not_what_it_was(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        scene.amend("tools", **{"bank/read": {"effect": "write"}})
        assert (await scene.ask(approval=approval_id, mode=Mode.DRY_RUN)).outcome is Outcome.ALLOW
        scene.amend("tools", **{"bank/pay": {"effect": "spend", "reach": "external"}})
        assert await why(scene.ask(approval=approval_id)) == "tool_changed"
        # Asking again does not give back what cannot be used.
        assert await scene.asked() != approval_id
        assert await state(scene, approval_id) == "WITHDRAWN"


async def test_a_newer_denial_wins_over_an_approval(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        scene.amend("agents")
        scene.engine.effects["pay"] = "deny"
        assert (await scene.ask(approval=approval_id)).outcome is Outcome.DENY
        assert await state(scene, approval_id) == "GRANTED"


async def test_an_approval_that_newer_policy_does_not_need_is_not_used_up(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        scene.amend("agents")
        del scene.engine.effects["pay"]
        assert (await scene.ask(approval=approval_id)).outcome is Outcome.ALLOW
        assert await state(scene, approval_id) == "GRANTED"


async def test_newer_policy_that_wants_more_people_asks_anew(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        scene.engine.demand = {"approvers_required": 2}
        asked = await scene.asked(approval=approval_id)
        assert asked != approval_id
        assert await state(scene, approval_id) == "WITHDRAWN"
        await scene.vote(asked, "ada@corp.example")
        assert await state(scene, asked) == "REQUESTED"
        await scene.vote(asked, "bob@corp.example")
        assert (await scene.ask(approval=asked)).outcome is Outcome.ALLOW


async def test_an_approval_lifts_only_what_its_people_saw(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        approval = await scene.store.approval(approval_id)
        assert approval.request.findings == (("fake.tool", "s1"),)
        await scene.ask(approval=approval_id)
        offered = json.loads(scene.engine.documents[-1])["approvals"]
        assert offered == [
            {
                "id": approval_id,
                "plan_hash": approval.request.plan_hash,
                "approvers": ["ada"],
                "expires_at_seconds": approval.request.expires_at_seconds,
                "tool_digests": approval.request.tool_digests,
                "revision": approval.request.bundle_revision,
                "findings": [{"rule": "fake.tool", "step": "s1"}],
            }
        ]


async def test_pending_rejected_withdrawn_and_expired_ones_are_of_no_use(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.asked()
        assert await why(scene.ask(approval=approval_id)) == "requested"
        await scene.vote(approval_id, "ada@corp.example", Choice.DENY, note="not today")
        assert await why(scene.ask(approval=approval_id)) == "rejected"
        withdrawn = await scene.granted()
        await scene.withdraw(withdrawn, by=principal("eve@corp.example", Role.SECOPS), note="hold it", only_of=None)
        assert await why(scene.ask(approval=withdrawn)) == "withdrawn"
        expired = await scene.granted()
        scene.clock.advance(900)
        assert await why(scene.ask(approval=expired)) == "expired"
        assert await state(scene, expired) == "GRANTED"
        assert await scene.expire() == 1
        assert await state(scene, expired) == "EXPIRED"


async def test_the_last_second_counts_and_the_next_does_not(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        scene.clock.advance(899.999)
        assert (await scene.ask(approval=approval_id)).outcome is Outcome.ALLOW


@pytest.mark.parametrize("days", [400, -400])
async def test_a_clock_that_jumps_makes_nothing_last_longer(tmp_path: Path, days: int) -> None:
    async with approval_scene(tmp_path) as scene:
        granted, asked = await scene.granted(), await scene.asked(arguments=b"{}")
        scene.clock.advance(days * 86_400)
        assert await why(scene.ask(approval=granted)) == "expired"
        assert await why(scene.vote(asked, "ada@corp.example")) == "expired"
        fresh = await scene.granted()
        assert fresh != granted
        assert (await scene.ask(approval=fresh)).outcome is Outcome.ALLOW
        # What ended while the clock was wrong stays ended when it is right again.
        await scene.expire()
        scene.clock.advance(-days * 86_400)
        assert await why(scene.ask(approval=granted)) == "expired"
        assert await why(scene.vote(asked, "ada@corp.example")) == "expired"


async def test_a_clock_that_is_set_back_makes_no_approval_good_again(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        scene.clock.advance(901)
        scene.clock.set_back(300)
        assert await why(scene.ask(approval=approval_id)) == "expired"


async def test_a_clock_that_is_set_back_a_little_spoils_nothing(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
        scene.clock.advance(-4)
        assert (await scene.ask(approval=approval_id)).outcome is Outcome.ALLOW


async def test_an_expired_request_makes_room_for_the_next(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        first = await scene.asked()
        scene.clock.advance(901)
        second = await scene.asked()
        assert (second != first, await state(scene, first), await state(scene, second)) == (
            True,
            "EXPIRED",
            "REQUESTED",
        )


async def test_an_agent_cannot_bury_people_in_requests(tmp_path: Path) -> None:
    async with approval_scene(tmp_path, most_open=3) as scene:
        for amount in range(3):
            await scene.asked(arguments=b'{"amount": %d}' % amount)
        with pytest.raises(OverloadedError):
            await scene.ask(arguments=b'{"amount": 3}')
        await scene.asked(arguments=b'{"amount": 0}')
        await scene.asked(arguments=b'{"amount": 3}', agent=OTHER_AGENT)
        scene.clock.advance(901)
        await scene.asked(arguments=b'{"amount": 3}')
        assert [event.type for event in await scene.events("decision.refused")] == ["decision.refused"]


async def test_a_restart_between_vote_and_use_changes_nothing(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.granted()
    async with approval_scene(tmp_path) as scene:
        assert (await scene.ask(approval=approval_id)).outcome is Outcome.ALLOW
    async with approval_scene(tmp_path) as scene:
        assert await why(scene.ask(approval=approval_id)) == "consumed"
        assert (await scene.log.verify()).problem == ""


async def test_an_agent_sees_takes_back_and_waits_for_its_own_only(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.asked()
        with pytest.raises(NotFoundError):
            await scene.read.show(approval_id, only_of=OTHER_AGENT)
        with pytest.raises(NotFoundError):
            await scene.withdraw(approval_id, by=principal(OTHER_AGENT, Role.AGENT), note="", only_of=OTHER_AGENT)
        with pytest.raises(NotFoundError):
            await anext(scene.read.wait(approval_id, only_of=OTHER_AGENT))
        everything = ApprovalFilter()
        page = await scene.read.page(everything, only_of=OTHER_AGENT, page_size=10, page_token="")
        assert page.approvals == ()
        taken = await scene.withdraw(approval_id, by=principal(AGENT, Role.AGENT), note="not needed", only_of=AGENT)
        assert (taken.state, taken.closed_by, taken.closed_note) == (ApprovalState.WITHDRAWN, AGENT, "not needed")
        assert await why(scene.withdraw(approval_id, by=principal(AGENT, Role.AGENT), note="", only_of=AGENT)) == (
            "withdrawn"
        )


async def test_a_list_shows_what_things_are_now_page_by_page(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        ids = [await scene.asked(arguments=b'{"amount": %d}' % amount) for amount in range(5)]
        await scene.vote(ids[0], "ada@corp.example")
        await scene.vote(ids[1], "ada@corp.example", Choice.DENY)
        first = await scene.read.page(ApprovalFilter(), only_of=None, page_size=3, page_token="")
        rest = await scene.read.page(ApprovalFilter(), only_of=None, page_size=3, page_token=first.next_token)
        assert [approval.id for approval in (*first.approvals, *rest.approvals)] == ids[::-1]
        assert rest.next_token == ""
        scene.clock.advance(901)

        async def listed(*states: ApprovalState) -> int:
            narrow = ApprovalFilter(frozenset(states))
            return len((await scene.read.page(narrow, only_of=None, page_size=9, page_token="")).approvals)

        assert [await listed(one) for one in ApprovalState] == [0, 0, 1, 0, 4, 0]
        assert await listed(ApprovalState.EXPIRED, ApprovalState.REJECTED) == 5


async def test_who_waits_hears_each_change_and_the_end(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 2}
        approval_id = await scene.asked()
        heard = asyncio.create_task(_heard(scene, approval_id))
        for voter in ("ada@corp.example", "bob@corp.example"):
            await scene.vote(approval_id, voter)
        assert (await heard)[-1] == ("GRANTED", 2)
        assert await _heard(scene, approval_id) == [("GRANTED", 2)]


async def test_who_waits_hears_of_a_withdrawal_and_of_the_end_of_time(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        for end in ("WITHDRAWN", "EXPIRED"):
            approval_id = await scene.asked()
            heard = asyncio.create_task(_heard(scene, approval_id))
            await asyncio.sleep(0)
            if end == "WITHDRAWN":
                await scene.withdraw(approval_id, by=principal(AGENT, Role.AGENT), note="", only_of=AGENT)
            else:
                scene.clock.advance(901)
                await scene.expire()
            assert (await heard)[-1][0] == end


async def test_a_vote_of_an_agent_is_refused_whatever_its_role(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        approval_id = await scene.asked()
        for agent in (AGENT, OTHER_AGENT):
            with pytest.raises(NotPermittedError):
                await scene.vote(approval_id, agent)
        assert await state(scene, approval_id) == "REQUESTED"
        told = [event.details() for event in await scene.events("approval.vote_refused")]
        assert [(item["principal"], item["reason"]) for item in told] == [
            (AGENT, "NOT_PERMITTED"),
            (OTHER_AGENT, "NOT_PERMITTED"),
        ]


async def _heard(scene: ApprovalScene, approval_id: str) -> list[tuple[str, int]]:
    return [
        (approval.state.value, len(approval.votes)) async for approval in scene.read.wait(approval_id, only_of=None)
    ]


async def test_how_many_wait_is_told_now_and_after_every_change(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene, contextlib.aclosing(scene.read.waiting()) as counts:
        assert await anext(counts) == 0
        first = await scene.asked()
        assert await anext(counts) == 1
        await scene.asked(arguments=b"{}", agent=OTHER_AGENT)
        assert await anext(counts) == 2
        await scene.vote(first, "ada@corp.example")
        assert await anext(counts) == 1
        scene.clock.advance(3600)
        assert await scene.expire() == 2
        assert await anext(counts) == 0
