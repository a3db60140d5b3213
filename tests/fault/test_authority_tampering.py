"""Somebody changes only what was consented to or granted: a state, a vote, an end, a use. The check names what."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import apsw
import pytest
from aisecops_server.adapters.sqlite.approval_verification import check_approvals
from aisecops_server.adapters.sqlite.fault import Fault
from aisecops_server.adapters.sqlite.grant_verification import check_grants
from aisecops_server.domain.approvals.approval import Choice
from aisecops_server.domain.approvals.approval_events import notice_event
from aisecops_server.domain.approvals.notice import NoticeState, SettleNotice
from aisecops_server.domain.callers.identity import Role
from aisecops_server.domain.grants.execution import ExecutionOutcome
from aisecops_server.domain.log.record import ChangeRecord
from aisecops_server.usecases.grants.revoke_grants import RevokeCommand

from tests.fakes.clock import FakeClock
from tests.fault.log_copies import copied, verified
from tests.scenes.approvals.approval_scene import AGENT as CLERK
from tests.scenes.approvals.approval_scene import PAY, ApprovalScene, approval_scene, principal
from tests.scenes.grants.granting import REPORT_SECONDS, step, workshop

ADA, BOB = "ada@corp.example", "bob@corp.example"


def payment(amount: int) -> bytes:
    return PAY.replace(b"500", str(amount).encode())


async def _consented(root: Path) -> None:
    async with approval_scene(root, endpoints=("pager",)) as scene:
        scene.engine.demand = {**scene.engine.demand, "approvers_required": 2}
        used = await scene.asked(arguments=payment(1))
        await scene.vote(used, ADA)
        await scene.vote(used, BOB, note="fine")
        assert (await scene.ask(arguments=payment(1), approval=used)).outcome == "ALLOW"
        await scene.vote(await scene.asked(arguments=payment(2)), ADA, Choice.DENY, note="no invoice")
        withdrawn = await scene.asked(arguments=payment(3))
        await scene.withdraw(withdrawn, by=principal(CLERK, Role.AGENT), note="done by hand", only_of=None)
        await scene.asked(arguments=payment(4))
        scene.clock.advance(3600)
        assert await scene.expire() == 1
        granted = await scene.asked(arguments=payment(5))
        await scene.vote(granted, ADA)
        await scene.vote(granted, BOB)
        await scene.vote(await scene.asked(arguments=payment(6)), ADA)
        await _settled(scene, NoticeState.DELIVERED, "")
        await _settled(scene, NoticeState.DEAD, "410")


async def _settled(scene: ApprovalScene, state: NoticeState, problem: str) -> None:
    [stored] = await scene.store.pending("pager", limit=1)
    change = SettleNotice(stored.notice.id, state, 2, problem, scene.now)
    event = notice_event(stored, change, id=scene.ids.event_id(), now_ns=scene.clock.now_ns())
    await scene.log.append_change(ChangeRecord((event,), (change,)))


async def _granted(root: Path) -> None:
    clock = FakeClock()
    async with workshop(root, clock) as shop:
        await shop.granted(step(to="open"))
        [redeemed] = await shop.granted(step(to="redeemed"))
        await shop.redeem(redeemed)
        [ran] = await shop.granted(step(to="ran"))
        await shop.run(ran)
        [failed] = await shop.granted(step(to="failed"))
        await shop.complete(failed, outcome=ExecutionOutcome.FAILED, failure="timed out")
        [late] = await shop.granted(step(to="late"))
        await shop.redeem(late)
        clock.advance(REPORT_SECONDS * 2)
        assert await shop.expire() == 3
        await shop.complete(late)
        await shop.redeem((await shop.granted(step(to="in use")))[0])
        decided, _ = await shop.decided(step(to="taken back"))
        assert await shop.use.revoke(
            RevokeCommand("sec", "lost laptop", decision_id=str(decided.details["decision_id"]))
        )
        await shop.granted(step(to="still open"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("authority")
    asyncio.run(_consented(root))
    asyncio.run(_granted(root))
    assert asyncio.run(verified(root / "audit.db")).problem == ""
    return root / "audit.db"


FORGERIES = {
    "grant an approval": ("UPDATE approval SET state = 'GRANTED' WHERE state = 'REQUESTED'", "approval .* state"),
    "open one that was used": (
        "UPDATE approval SET state = 'GRANTED', consumed_by = '' WHERE state = 'CONSUMED'",
        "approval .* state, end",
    ),
    "revive one that was denied": ("UPDATE approval SET state = 'REQUESTED' WHERE state = 'REJECTED'", "state"),
    "revive one that expired": ("UPDATE approval SET state = 'GRANTED' WHERE state = 'EXPIRED'", "state"),
    "stretch one": (
        "UPDATE approval SET expires_at = expires_at + 86400 WHERE state = 'GRANTED'",
        "approval .* time is not",
    ),
    "start one again": ("UPDATE approval SET changed_at = changed_at + 60 WHERE state = 'REJECTED'", "time"),
    "lend one to another agent": ("UPDATE approval SET agent_id = 'x' WHERE state = 'GRANTED'", "agent"),
    "bind one to another plan": ("UPDATE approval SET plan_hash = 'x' WHERE state = 'GRANTED'", "plan"),
    "lower a quorum": (
        """UPDATE approval SET request = CAST(replace(request, '_required":2', '_required":1') AS BLOB)
        WHERE state = 'REQUESTED'""",
        "request",
    ),
    "show something else": ("UPDATE approval SET statement = x'7b7d' WHERE state = 'REQUESTED'", "statement"),
    "count a vote that was not": (
        """INSERT INTO vote SELECT approval_id, 'mallory', 2, 'invented', details FROM vote
        WHERE approval_id = (SELECT approval_id FROM approval WHERE state = 'REQUESTED')""",
        "votes",
    ),
    "turn a denial": (
        """UPDATE vote SET details = CAST(replace(details, '"choice":"deny"', '"choice":"approve"') AS BLOB)
        WHERE instr(details, '"choice":"deny"')""",
        "votes",
    ),
    "let somebody else have voted": ("UPDATE vote SET approver = 'mallory' WHERE approver = 'bob'", "votes"),
    "lose a vote": ("DELETE FROM vote WHERE approver = 'bob'", "votes"),
    "hide what was answered before": (
        "UPDATE past_answer SET tool = 'bank/read' WHERE approver = 'ada'",
        "past answers",
    ),
    "invent an answer of before": (
        "INSERT INTO past_answer SELECT agent_id, 'bank/x', at, approval_id, approver FROM past_answer LIMIT 1",
        "kept as past_answer, the log tells of",
    ),
    "move the version": ("UPDATE approval SET version = version + 1 WHERE state = 'WITHDRAWN'", "version"),
    "blame somebody": ("UPDATE approval SET closed_by = 'mallory' WHERE state = 'WITHDRAWN'", "end"),
    "lose a request": ("DELETE FROM approval WHERE state = 'REJECTED'", "approval .* is missing"),
    "invent a request": (
        """INSERT INTO approval SELECT 'apr-x', 'x', 'x', statement_digest, statement, request, 'GRANTED', version,
        requested_at, expires_at, changed_at, '', '', '' FROM approval WHERE state = 'GRANTED'""",
        "kept as approval, the log tells of",
    ),
    "silence a message": ("UPDATE notice SET state = 'DELIVERED' WHERE state = 'PENDING'", "message ntc-|message .*"),
    "send it elsewhere": ("UPDATE notice SET endpoint = 'mallory' WHERE state = 'PENDING'", "message"),
    "say something else": ("UPDATE notice SET body = x'7b7d' WHERE state = 'PENDING'", "message"),
    "forget what went wrong": ("UPDATE notice SET problem = '' WHERE state = 'DEAD'", "message"),
    "lose a message": ("DELETE FROM notice WHERE state = 'PENDING'", "message|kept as notice"),
    "use a grant again": (
        "UPDATE execution_grant SET state = 'issued', redemption = '' WHERE state = 'redeemed'",
        "grant .* state, redemption",
    ),
    "use one again that was executed": (
        "UPDATE execution_grant SET state = 'issued' WHERE state = 'executed'",
        "grant .* state",
    ),
    "hide that one failed": ("UPDATE execution_grant SET state = 'executed' WHERE state = 'failed'", "state"),
    "say that one ran": (
        "UPDATE execution_grant SET state = 'executed', report = 'x' WHERE state = 'expired_unknown'",
        "grant .* state",
    ),
    "forget a revocation": ("UPDATE execution_grant SET revoked = 0 WHERE revoked = 1", "grant .* revoked"),
    "revoke one": (
        "UPDATE execution_grant SET revoked = 1 WHERE state = 'issued' AND revoked = 0",
        "grant .* revoked",
    ),
    "never miss a report": ("UPDATE execution_grant SET overdue_at = overdue_at + 1 WHERE state = 'issued'", "time"),
    "widen a grant": (
        """UPDATE execution_grant SET claims = CAST(replace(claims, 'mail/send', 'mail/drop') AS BLOB)
        WHERE state = 'issued'""",
        "claims",
    ),
    "stretch a grant": (
        """UPDATE execution_grant SET claims = CAST(json_set(CAST(claims AS TEXT), '$.exp', 9999999999) AS BLOB)
        WHERE state = 'issued'""",
        "claims",
    ),
    "take over a redemption": ("UPDATE execution_grant SET redemption = 'x' WHERE state = 'redeemed'", "redemption"),
    "hand one over": ("UPDATE execution_grant SET agent_id = 'mallory' WHERE state = 'issued'", "agent"),
    "run it in another step": ("UPDATE execution_grant SET step_id = 's2' WHERE state = 'executed'", "step"),
    "report something else": ("UPDATE execution_grant SET report = 'x' WHERE state = 'executed'", "report"),
    "report something else, late": (
        "UPDATE execution_grant SET report = 'x' WHERE state = 'expired_unknown' AND report != ''",
        "grant .* report",
    ),
    "forget what was told late": (
        "UPDATE execution_grant SET report = '' WHERE state = 'expired_unknown' AND report != ''",
        "grant .* report",
    ),
    "say that one was told of late": (
        "UPDATE execution_grant SET report = 'x' WHERE state = 'expired_unknown' AND report = ''",
        "grants were told of late, the log tells of",
    ),
    "lose a grant": ("DELETE FROM execution_grant WHERE state = 'expired_unknown'", "is missing"),
    "invent a grant": (
        """INSERT INTO execution_grant
        SELECT 'grt-x.0', trace_id, step_id, agent_id, claims, overdue_at, 'issued', 0, '', ''
        FROM execution_grant WHERE state = 'executed'""",
        "grants are kept, the log tells of",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_people_or_policy_gave_cannot_be_altered_beside_the_log(original: Path, tmp_path: Path, name: str) -> None:
    statement, named = FORGERIES[name]
    path = copied(original, tmp_path, "forged")
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    changed = connection.total_changes()
    connection.close()
    assert changed, "this forgery changed nothing"
    problem = asyncio.run(verified(path)).problem
    assert re.search(named, problem), problem


def test_the_check_holds_beside_a_log_that_goes_on(original: Path, tmp_path: Path) -> None:
    async def checked() -> list[str]:
        copied(original, tmp_path, "audit")
        problems = []
        async with workshop(tmp_path) as shop:
            for number in range(8):
                running = asyncio.create_task(shop.run((await shop.granted(step(to=str(number))))[0]))
                problems.append((await verified(tmp_path / "audit.db")).problem)
                await running
        return problems

    assert asyncio.run(checked()) == [""] * 8


def test_what_was_erased_is_not_missed_and_what_is_left_is_compared(original: Path, tmp_path: Path) -> None:
    connection = apsw.Connection(str(copied(original, tmp_path, "erased")))
    connection.execute("DELETE FROM payload")
    check_approvals(connection)
    check_grants(connection)
    connection.execute("UPDATE approval SET state = 'GRANTED' WHERE state = 'REQUESTED'")
    with pytest.raises(Fault, match="state is not what the log says"):
        check_approvals(connection)
    connection.execute("UPDATE execution_grant SET agent_id = 'mallory' WHERE state = 'issued'")
    with pytest.raises(Fault, match="agent is not what the log says"):
        check_grants(connection)
    connection.close()
