"""Several control planes on one database: one log without a gap, exact budgets, one use of an approval."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aisecops_server.adapters.postgres.connection import PostgresConnection
from aisecops_server.adapters.postgres.event_log import PostgresEventLog, open_log, open_log_read_only
from aisecops_server.adapters.postgres.server import migrate
from aisecops_server.domain.budgets.budget import Budget, Counter
from aisecops_server.domain.decisions.decision import Outcome
from aisecops_server.domain.errors import ApprovalNotUsableError, IdempotencyConflictError
from aisecops_server.domain.log.record import Receipt, TraceFilter
from aisecops_server.usecases.decisions.decide import Decided

from tests.contract.budget_ledger import NOW, reserve
from tests.scenes.approvals.approval_scene import ApprovalScene
from tests.scenes.budgets.budget_records import event_record
from tests.scenes.log.records import Records
from tests.scenes.servers.postgres_servers import PostgresServer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]
LAST_UNITS = 10


@contextlib.asynccontextmanager
async def replicas(url: str, count: int) -> AsyncIterator[list[PostgresEventLog]]:
    """Open the same log so many times, as control planes of their own do."""
    logs = [await asyncio.to_thread(open_log, url) for _ in range(count)]
    try:
        yield logs
    finally:
        for log in logs:
            await log.close()


def own_url(postgres: PostgresServer) -> str:
    return postgres.url(postgres.database())


async def test_all_append_to_one_log_without_a_gap(postgres: PostgresServer) -> None:
    url = await asyncio.to_thread(own_url, postgres)
    async with replicas(url, 3) as logs:
        made = [Records(prefix=str(number)) for number in range(len(logs))]
        shared = "f" * 32
        receipts = await asyncio.gather(
            *(
                log.append(records.record(trace_id=shared if turn % 5 == 0 else "", rules=(f"rule.{turn % 3}",)))
                for turn in range(60)
                for log, records in zip(logs, made, strict=True)
            )
        )
        heads = {await log.head() for log in logs}
        assert len(heads) == 1
        stored = [event async for event in logs[0].events(from_index=0, follow=False, trace_id="")]
        assert [event.index for event in stored] == list(range(heads.pop().size))
        assert len({receipt.log_index for receipt in receipts}) == len(receipts)
        assert (await logs[1].verify()).problem == ""
        # What each of them indexed is found by every other.
        page = await logs[2].traces(TraceFilter(rule="rule.1"), page_size=500, page_token="")
        assert {trace.trace_id for trace in page.traces} == {
            trace.trace_id
            for trace in (await logs[0].traces(TraceFilter(), page_size=500, page_token="")).traces
            if "rule.1" in trace.rules
        }
        assert (await logs[1].trace(shared)).summary.decisions == 36


async def test_who_follows_the_log_of_one_sees_what_another_appends(postgres: PostgresServer) -> None:
    url = await asyncio.to_thread(own_url, postgres)
    async with (
        replicas(url, 2) as (here, there),
        contextlib.aclosing(here.events(from_index=0, follow=True, trace_id="")) as events,
    ):
        first = asyncio.ensure_future(anext(events))
        receipt = await there.append(Records().record())
        async with asyncio.timeout(60):
            seen = [(await first).index]
            while seen[-1] < receipt.log_index:
                seen.append((await anext(events)).index)
        assert seen == list(range(receipt.log_index + 1))


async def test_a_retry_at_another_replica_gets_the_decision_that_was_made(postgres: PostgresServer) -> None:
    url = await asyncio.to_thread(own_url, postgres)
    async with replicas(url, 2) as (here, there):
        receipt = await here.append(Records(prefix="a").record(key="retry-1"))
        again = await there.append(Records(prefix="b").record(key="retry-1"))
        assert (again.event_id, again.log_index) == (receipt.event_id, receipt.log_index)
        with pytest.raises(IdempotencyConflictError):
            await there.append(Records(prefix="c").record(key="retry-1", request_digest="another question"))


async def test_no_more_is_spent_at_all_replicas_than_there_is(
    postgres: PostgresServer,
) -> None:
    url = await asyncio.to_thread(own_url, postgres)
    budget = Budget.named("agent:a/calls/day")
    async with replicas(url, 3) as logs:
        changes = [reserve(budget, decision=f"dec-{number}", amount=1) for number in range(LAST_UNITS * 3)]
        answers = await asyncio.gather(
            *(
                logs[number % len(logs)].append_change(event_record(change, None, NOW))
                for number, change in enumerate(changes)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, Receipt) for answer in answers) == LAST_UNITS
        for log in logs:
            state = await log.budgets.budget(budget, now_seconds=NOW)
            assert state.counter == Counter(reserved=LAST_UNITS)
        assert (await logs[0].verify()).problem == ""


async def test_an_approval_is_used_once_whoever_is_asked(postgres: PostgresServer, tmp_path: Path) -> None:
    url = await asyncio.to_thread(own_url, postgres)
    async with replicas(url, 2) as logs:
        here, there = (ApprovalScene(tmp_path, log) for log in logs)
        plans = [b'{"amount": %d}' % amount for amount in range(4)]
        approvals = [await here.granted(arguments=plan) for plan in plans]
        for approval, plan in zip(approvals, plans, strict=True):
            answers = await asyncio.gather(
                *(scene.ask(arguments=plan, approval=approval) for scene in (here, there) * 8), return_exceptions=True
            )
            allowed = [answer for answer in answers if isinstance(answer, Decided)]
            assert [answer.outcome for answer in allowed] == [Outcome.ALLOW]
            assert sum(isinstance(answer, ApprovalNotUsableError) for answer in answers) == len(answers) - 1
        assert (await logs[1].verify()).problem == ""


async def test_who_waits_at_one_replica_is_woken_by_a_vote_at_another(postgres: PostgresServer, tmp_path: Path) -> None:
    url = await asyncio.to_thread(own_url, postgres)
    async with replicas(url, 2) as logs:
        here, there = (ApprovalScene(tmp_path, log) for log in logs)
        approval = await here.asked()
        with here.store.watching(approval) as changed:
            await there.vote(approval, "ada@corp.example")
            async with asyncio.timeout(60):
                assert await changed.wait()


async def test_an_auditor_reads_and_verifies_and_cannot_write(postgres: PostgresServer) -> None:
    name = await asyncio.to_thread(postgres.database)
    async with replicas(postgres.url(name), 1) as (log,):
        await log.append(Records().record())
    reading = await asyncio.to_thread(open_log_read_only, postgres.url(name, "auditor"))
    try:
        assert (await reading.verify()).problem == ""
        assert reading.sealed
    finally:
        await reading.close()


async def test_who_listens_at_one_replica_hears_of_what_another_was_asked(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url = await asyncio.to_thread(own_url, postgres)
    async with replicas(url, 2) as logs, asyncio.timeout(20):
        here, there = (ApprovalScene(tmp_path, log) for log in logs)
        async with contextlib.aclosing(there.read.waiting()) as counts:
            assert await anext(counts) == 0
            await here.asked()
            # Another replica's change wakes all who listen, also for what is not theirs.
            async for count in counts:
                if count == 1:
                    break


async def test_identical_requests_are_found_by_every_replica(postgres: PostgresServer, tmp_path: Path) -> None:
    url = await asyncio.to_thread(own_url, postgres)
    async with replicas(url, 2) as logs:
        here, there = (ApprovalScene(tmp_path, log) for log in logs)
        [first, *others] = [await here.asked(step=f"s{number}") for number in range(3)]
        await here.asked(arguments=b"{}")
        shown = await there.read.show(first, only_of=None)
        assert [one.id for one in shown.identical] == others


async def test_what_was_answered_before_is_found_by_every_replica_also_from_before_it_was_kept(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    name = await asyncio.to_thread(postgres.database)
    url = postgres.url(name)
    async with replicas(url, 2) as logs:
        here, there = (ApprovalScene(tmp_path, log) for log in logs)
        answered = [await here.granted(arguments=b'{"amount": %d}' % amount) for amount in range(2)]
        asked = await there.asked(arguments=b'{"amount": 9}')
        shown = await there.read.show(asked, only_of=None)
        assert {one.approval.id for one in shown.past} == set(answered)
        assert (await there.log.verify()).problem == ""
    # As the database was before: what came after it is taken back, too.
    before = (
        "DROP TABLE aisecops.past_answer",
        "DROP INDEX aisecops.event_of_grant_keys",
        "DROP INDEX aisecops.event_of_signing_keys",
        "DROP INDEX aisecops.trace_by_decisions",
        "DROP INDEX aisecops.trace_by_length",
        "DROP TABLE aisecops.rollout, aisecops.rollout_share, aisecops.proposal",
        "DROP FUNCTION aisecops.refuse_older_rollout",
        "DROP INDEX aisecops.event_of_rollouts",
        "DROP TABLE aisecops.trace_figure",
        "DELETE FROM aisecops.migration WHERE version >= 3",
    )
    for statement in before:
        await asyncio.to_thread(postgres.run, statement, name)
    await asyncio.to_thread(migrated, postgres.url(name, "administrator"))
    async with replicas(url, 1) as [log]:
        assert (await ApprovalScene(tmp_path, log).read.show(asked, only_of=None)).past == shown.past
        assert (await log.verify()).problem == ""


def migrated(url: str) -> None:
    with contextlib.closing(PostgresConnection(url)) as connection:
        migrate(connection)
