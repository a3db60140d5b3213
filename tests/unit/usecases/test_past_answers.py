"""What people answered before to the same agent about the same tool, beside what it asks now."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite import approval_rows, schema
from aisecops_server.domain.approvals.approval import ApprovalState, Choice
from aisecops_server.usecases.approvals.approvals import PAST_ANSWERS

from tests.scenes.approvals.approval_scene import OTHER_AGENT, ApprovalScene, approval_scene
from tests.scenes.log.earlier_schema import take_back_migrations_from

pytestmark = pytest.mark.asyncio

ADA, BOB = "ada@corp.example", "bob@corp.example"


async def past(scene: ApprovalScene, approval_id: str) -> list[tuple[str, str, Choice, str]]:
    shown = await scene.read.show(approval_id, only_of=None)
    return [(one.approval.id, one.vote.approver, one.vote.choice, one.vote.note) for one in shown.past]


def payment(amount: int) -> bytes:
    return b'{"amount": %d}' % amount


async def test_answers_to_the_same_agent_about_the_same_tool_stand_newest_first(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        scene.engine.demand = {"approvers_required": 2}
        scene.engine.effects["delete"] = "require_approval"
        first = await scene.asked(arguments=payment(1))
        await scene.vote(first, ADA, note="invoice 7")
        scene.clock.advance(10)
        second = await scene.asked(arguments=payment(2))
        await scene.vote(second, BOB, Choice.DENY, note="no invoice")
        await scene.vote(await scene.asked("bank/delete"), ADA, note="another tool")
        await scene.vote(await scene.asked(agent=OTHER_AGENT), ADA, note="another agent")
        await scene.asked(arguments=payment(3))
        scene.clock.advance(10)
        await scene.vote(first, BOB)
        asked = await scene.asked(arguments=payment(4))
        assert await past(scene, asked) == [
            (first, "bob", Choice.APPROVE, ""),
            (second, "bob", Choice.DENY, "no invoice"),
            (first, "ada", Choice.APPROVE, "invoice 7"),
        ]
        assert await past(scene, second) == [
            (first, "bob", Choice.APPROVE, ""),
            (first, "ada", Choice.APPROVE, "invoice 7"),
        ]
        assert (await scene.log.verify()).problem == ""


async def test_only_the_last_are_shown_and_each_as_it_is_now(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        granted = []
        for amount in range(PAST_ANSWERS + 2):
            scene.clock.advance(1)
            granted.append(await scene.granted(arguments=payment(amount)))
        scene.clock.advance(3600)
        used = await scene.granted(arguments=payment(100))
        await scene.ask(arguments=payment(100), approval=used)
        shown = await scene.read.show(await scene.asked(arguments=payment(101)), only_of=None)
        assert [(one.approval.id, one.approval.state) for one in shown.past] == [
            (used, ApprovalState.CONSUMED),
            *((name, ApprovalState.EXPIRED) for name in granted[:-PAST_ANSWERS:-1]),
        ]


async def test_what_was_answered_before_the_table_was_there_is_found(tmp_path: Path) -> None:
    async with approval_scene(tmp_path) as scene:
        first = await scene.granted(arguments=payment(1))
        await scene.vote(await scene.asked(arguments=payment(2)), BOB, Choice.DENY)
    take_back_migrations_from(tmp_path / "audit.db", "past_answer")
    async with approval_scene(tmp_path) as scene:
        found = await past(scene, await scene.asked(arguments=payment(3)))
        assert (len(found), (first, "ada", Choice.APPROVE, "") in found) == (2, True)
        assert (await scene.log.verify()).problem == ""


async def test_they_are_found_by_an_index_however_much_was_answered() -> None:
    connection = apsw.Connection(":memory:")
    for script in schema.MIGRATIONS:
        connection.execute(script)
    facts = {"agent": "a", "tool": "t", "id": "apr-1", "limit": 5}
    [*steps] = connection.execute(f"EXPLAIN QUERY PLAN {approval_rows._ANSWERS}", facts)
    assert [step[3] for step in steps] == ["SEARCH past_answer USING PRIMARY KEY (agent_id=? AND tool=?)"]
