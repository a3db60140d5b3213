"""Everybody at once for the same approval: exactly one gets it, and the books say who."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import ApprovalNotUsableError
from aisecops_server.usecases.decisions.decide import Decided

from tests.scenes.approvals.approval_scene import ApprovalScene, approval_scene

APPROVALS = 50
RACERS = 64


async def _race(scene: ApprovalScene, approval_id: str, arguments: bytes) -> list[Decided | BaseException]:
    asking = (scene.ask(arguments=arguments, approval=approval_id) for _ in range(RACERS))
    return await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_of_many_who_use_an_approval_at_once_exactly_one_does(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        plans = [b'{"amount": %d}' % amount for amount in range(APPROVALS)]
        approvals = [await scene.granted(arguments=plan) for plan in plans]
        races = await asyncio.gather(
            *(_race(scene, approval, plan) for approval, plan in zip(approvals, plans, strict=True))
        )
        for answers in races:
            allowed = [answer for answer in answers if isinstance(answer, Decided)]
            refused = [answer for answer in answers if isinstance(answer, ApprovalNotUsableError)]
            assert (len(allowed), len(refused)) == (1, RACERS - 1)
            assert allowed[0].outcome is Outcome.ALLOW
            assert {error.metadata()["why"] for error in refused} == {"consumed"}
        told = [event.details() for event in await scene.events("approval.consumed")]
        winners = {
            answer.details["decision_id"] for answers in races for answer in answers if isinstance(answer, Decided)
        }
        assert Counter(item["approval_id"] for item in told) == dict.fromkeys(approvals, 2)
        assert {item["consumed_by"] for item in told} == winners
        assert len(await scene.events("decision.refused")) == APPROVALS * (RACERS - 1)
        assert (await scene.log.verify()).problem == ""
    # What was used stays used.
    async with approval_scene(tmp_path) as scene:
        for approval, plan in zip(approvals, plans, strict=True):
            with pytest.raises(ApprovalNotUsableError):
                await scene.ask(arguments=plan, approval=approval)
