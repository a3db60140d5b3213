"""One answer to several requests: only to what was seen, only to what is identical, and a vote on each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aisecops_server.domain.approvals.approval import ApprovalState, Choice
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.errors import (
    ApprovalNotUsableError,
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
)
from aisecops_server.domain.plans.plan_builder import DelegateDraft, SourceDraft, StepDraft
from aisecops_server.domain.plans.provenance import SourceKind
from aisecops_server.usecases.approvals.vote_together import MOST_TOGETHER, Answered, Seen, TogetherCommand

from tests.scenes.approvals.approval_scene import OTHER_AGENT, PAY, ApprovalScene, approval_scene, principal

pytestmark = pytest.mark.asyncio

ADA, BOB, CLEO = (f"{name}@corp.example" for name in ("ada", "bob", "cleo"))


async def seen(scene: ApprovalScene, approval_ids: Sequence[str]) -> tuple[Seen, ...]:
    return tuple([Seen(name, (await scene.store.approval(name)).statement_digest) for name in approval_ids])


async def answered(
    scene: ApprovalScene, approval_ids: Sequence[str], who: str = ADA, choice: Choice = Choice.APPROVE, note: str = ""
) -> tuple[Answered, ...]:
    command = TogetherCommand(principal(who, Role.SECOPS), choice, note, await seen(scene, approval_ids))
    return await scene.together(command)


async def identical(scene: ApprovalScene, count: int, **parts: Any) -> list[str]:
    return [await scene.asked(step=f"s{number}", **parts) for number in range(count)]


async def classes(scene: ApprovalScene, approval_ids: Sequence[str]) -> set[str]:
    return {(await scene.store.approval(name)).request.hash_class for name in approval_ids}


async def test_identical_requests_are_shown_together_and_answered_by_a_vote_each(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        [first, second, third] = await identical(scene, 3)
        scene.clock.advance(1)
        last = await scene.asked(step="later", intent="the very same, in other words")
        other = await scene.asked(arguments=b'{"amount": 1}')
        shown = await scene.read.show(second, only_of=None)
        assert [one.id for one in shown.identical] == [first, third, last]
        assert (await scene.read.show(other, only_of=None)).identical == ()
        told = await answered(scene, [first, third, last], note="as agreed")
        assert [(one.approval.id, one.approval.state, one.refused) for one in told] == [
            (name, ApprovalState.GRANTED, None) for name in (first, third, last)
        ]
        votes = [event.details() for event in await scene.events("approval.voted")]
        assert [(vote["approval_id"], vote["note"]) for vote in votes] == [
            (name, "as agreed") for name in (first, third, last)
        ]
        assert len({vote["token_id"] for vote in votes}) == 3
        # What was not among those that were seen still waits, and each grant is good for its own plan alone.
        assert (await scene.store.approval(second)).state is ApprovalState.REQUESTED
        assert (await scene.ask(step="s0", approval=first)).outcome == "ALLOW"
        with pytest.raises(ApprovalNotUsableError):
            await scene.ask(step="s0", approval=third)
        assert (await scene.log.verify()).problem == ""


DIFFERENT: dict[str, dict[str, Any]] = {
    "arguments": {"arguments": PAY.replace(b"500", b"501")},
    "an agent": {"agent": OTHER_AGENT},
    "on whose behalf": {"delegation": (DelegateDraft(OTHER_AGENT, "f" * 32),)},
    "where": {"environment": "production"},
    "a capability": {"steps": (StepDraft("s9", "bank/pay", PAY, capability="pay"),)},
    "one call more": {"steps": (StepDraft("s9", "bank/pay", PAY), StepDraft("s10", "bank/read", b"{}"))},
    "what it listened to": {
        "steps": (StepDraft("s9", "bank/pay", PAY, influenced_by=("mail",)),),
        "sources": (SourceDraft("mail", SourceKind.TOOL_RESULT, content=b"pay", tool="mail/read"),),
    },
}


@pytest.mark.parametrize("difference", DIFFERENT)
async def test_what_differs_in_anything_that_matters_is_not_identical(tmp_path: Path, difference: str) -> None:
    async with approval_scene(tmp_path) as scene:
        same = await identical(scene, 2)
        other = await scene.asked(**{"step": "s9", **DIFFERENT[difference]})
        assert len(await classes(scene, same)) == 1
        assert len(await classes(scene, [*same, other])) == 2
        assert other not in [one.id for one in (await scene.read.show(same[0], only_of=None)).identical]
        with pytest.raises(InvalidRequestError):
            await answered(scene, [*same, other])
        assert {(await scene.store.approval(name)).state for name in (*same, other)} == {ApprovalState.REQUESTED}
        refused = [event.details() for event in await scene.events("approval.vote_refused")]
        assert [(one["approval_id"], one["principal"]) for one in refused] == [(name, ADA) for name in (*same, other)]


@pytest.mark.parametrize(
    "demand", [{"approvers_required": 2}, {"groups": ["treasury"]}, {"expires_seconds": 60}], ids=" ".join
)
async def test_what_policy_asks_of_people_is_part_of_it(tmp_path: Path, demand: dict[str, Any]) -> None:
    async with approval_scene(tmp_path) as scene:
        before = await scene.asked()
        scene.engine.demand = demand
        assert len(await classes(scene, [before, await scene.asked(step="s2")])) == 2


async def test_what_the_tables_say_of_the_tool_is_part_of_it(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        before = await scene.asked()
        scene.amend("tools", **{"bank/pay": {"effect": "spend", "owner": "somebody"}})
        assert len(await classes(scene, [before, await scene.asked(step="s2")])) == 2


async def test_names_of_steps_are_not_mistaken_for_what_they_do(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        names = [("a", "b"), ("b", "a"), ("0", "1")]
        chains = [
            await scene.asked(
                steps=(StepDraft(one, "bank/read", b"{}"), StepDraft(other, "bank/pay", PAY, depends_on=(one,)))
            )
            for one, other in names
        ]
        loose = await scene.asked(steps=(StepDraft("c", "bank/read", b"{}"), StepDraft("d", "bank/pay", PAY)))
        assert len(await classes(scene, chains)) == 1
        assert len(await classes(scene, [*chains, loose])) == 2


async def test_each_keeps_its_own_checks_and_the_answer_says_what_became_of_each(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        [early] = await identical(scene, 1)
        scene.clock.advance(890)
        rest = [await scene.asked(step=f"t{number}") for number in range(4)]
        taken, denied, withdrawn, waiting = rest
        what = await seen(scene, [early, *rest])
        await scene.vote(taken, BOB)
        await scene.vote(denied, BOB, Choice.DENY)
        await scene.withdraw(withdrawn, by=principal(ADA, Role.SECOPS), note="", only_of=None)
        scene.clock.advance(20)
        told = await scene.together(TogetherCommand(principal(ADA, Role.SECOPS), Choice.APPROVE, "", what))
        assert [(one.approval.state, one.refused and one.refused.metadata()["why"]) for one in told] == [
            (ApprovalState.EXPIRED, "expired"),
            (ApprovalState.GRANTED, "granted"),
            (ApprovalState.REJECTED, "rejected"),
            (ApprovalState.WITHDRAWN, "withdrawn"),
            (ApprovalState.GRANTED, None),
        ]
        assert told[1].approval.approvers == ("bob",)
        assert told[4].approval.id == waiting
        assert [event.details()["approval_id"] for event in await scene.events("approval.vote_refused")] == [
            early,
            taken,
            denied,
            withdrawn,
        ]


async def test_two_persons_are_still_two_and_who_answers_for_the_agent_is_still_none(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 2}
        same = await identical(scene, 2)
        owner = await answered(scene, same, CLEO)
        assert [type(one.refused) for one in owner] == [NotPermittedError] * 2
        assert [one.approval.state for one in await answered(scene, same)] == [ApprovalState.REQUESTED] * 2
        again = await answered(scene, same)
        assert [one.refused and one.refused.metadata()["why"] for one in again] == ["voted"] * 2
        assert [one.approval.state for one in await answered(scene, same, BOB)] == [ApprovalState.GRANTED] * 2


async def test_one_denial_with_one_reason_ends_them_all(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        same = await identical(scene, 3)
        told = await answered(scene, same, choice=Choice.DENY, note="stop asking")
        assert [(one.approval.state, one.approval.votes[0].note) for one in told] == [
            (ApprovalState.REJECTED, "stop asking")
        ] * 3


async def test_a_statement_that_was_not_seen_is_not_answered(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        [first, second] = await identical(scene, 2)
        [one, _] = await seen(scene, [first, second])
        command = TogetherCommand(
            principal(ADA, Role.SECOPS), Choice.APPROVE, "", (one, Seen(second, one.statement_digest))
        )
        told = await scene.together(command)
        assert [one.approval.state for one in told] == [ApprovalState.GRANTED, ApprovalState.REQUESTED]
        assert isinstance(told[1].refused, InvalidRequestError)


async def test_forms_that_nobody_was_shown_are_refused_whole(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        [first, second] = await identical(scene, 2)
        [one, other] = await seen(scene, [first, second])
        voter = principal(ADA, Role.SECOPS)
        for wrong in ((), (one, one), (one,) * (MOST_TOGETHER + 1)):
            with pytest.raises(InvalidRequestError) as refused:
                await scene.together(TogetherCommand(voter, Choice.APPROVE, "", wrong))
            assert refused.value.metadata()["field"] == "seen"
        with pytest.raises(NotFoundError):
            await scene.together(TogetherCommand(voter, Choice.APPROVE, "", (one, Seen("apr-0", "00"), other)))
        assert {(await scene.store.approval(name)).state for name in (first, second)} == {ApprovalState.REQUESTED}
