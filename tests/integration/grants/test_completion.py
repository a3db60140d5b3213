"""Each allow ends in exactly one terminal event, whoever reports what and however often."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aisecops_server.domain.errors import GrantNotUsableError, NotFoundError
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.grants.execution import ExecutionCost, ExecutionOutcome
from aisecops_server.domain.grants.grant import GrantState
from aisecops_server.domain.grants.incident import IncidentKind
from aisecops_server.usecases.grants.issue_grants import SignedGrant

from tests.fault.log_copies import verified
from tests.scenes.grants.granting import GRANT_SECONDS, REPORT_SECONDS, Workshop, details, principal, step, workshop

pytestmark = pytest.mark.asyncio
FINAL = {"execution.executed", "execution.failed", "execution.expired_unknown"}


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(tmp_path) as opened:
        yield opened


async def endings(shop: Workshop) -> Counter[str]:
    """Return how many terminal events each grant has."""
    return Counter(details(stored)["grant"] for stored in await shop.events("execution.") if stored.event.type in FINAL)


async def test_a_completed_call_is_on_record_with_digests_and_cost(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.redeem(signed)
    done = await shop.complete(signed, cost=ExecutionCost(tokens=7, micro_usd=9, wall_milliseconds=11))
    assert (done.state, done.incidents) == (GrantState.EXECUTED, ())
    [ended] = await shop.events("execution.")
    assert ended.event.type == "execution.executed"
    told = details(ended)
    assert (told["tokens"], told["micro_usd"], told["wall_milliseconds"]) == (7, 9, 11)
    assert (told["result_sha256"], told["arguments_sha256"]) == (digest(b"result"), signed.grant.arguments_digest)
    assert (told["redeemed"], told["as_granted"], told["step"]) == (True, True, "s1")
    assert (ended.event.trace_id, ended.event.decision_id) == (signed.grant.trace_id, signed.grant.decision_id)


async def test_a_failed_call_ends_its_grant_too(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.redeem(signed)
    done = await shop.complete(signed, outcome=ExecutionOutcome.FAILED, failure="timeout", result_digest="")
    assert done.state is GrantState.FAILED
    assert [stored.event.type for stored in await shop.events("execution.")] == ["execution.failed"]


async def test_the_same_report_again_changes_nothing(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.redeem(signed)
    assert not (await shop.complete(signed)).retried
    assert (await shop.complete(signed)).retried
    assert (await endings(shop), await shop.incidents()) == ({signed.grant.id: 1}, [])


async def test_another_report_of_a_closed_grant_is_an_incident(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.run(signed)
    with pytest.raises(GrantNotUsableError) as refused:
        await shop.complete(signed, result_digest=digest(b"a second run"))
    assert refused.value.metadata()["why"] == "grant_reused"
    assert (await endings(shop), await shop.incidents()) == ({signed.grant.id: 1}, ["grant_reused"])


async def test_many_reports_at_once_end_a_grant_once(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.redeem(signed)
    results = await asyncio.gather(
        *(shop.complete(signed, result_digest=digest(bytes([at]))) for at in range(16)), return_exceptions=True
    )
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert all(isinstance(result, GrantNotUsableError) for result in results if isinstance(result, Exception))
    assert await endings(shop) == {signed.grant.id: 1}


async def test_only_its_own_agent_closes_a_grant(shop: Workshop) -> None:
    [signed] = await shop.granted()
    with pytest.raises(GrantNotUsableError):
        await shop.complete(signed, by=principal("agent-b"))
    assert (await endings(shop), await shop.incidents()) == ({}, ["other_caller"])
    # A credential that was renewed meanwhile is still the same agent, and a report gives no authority.
    assert (await shop.complete(signed, by=principal(credential="renewed"))).state is GrantState.EXECUTED


async def test_a_grant_that_never_was_cannot_be_closed(shop: Workshop) -> None:
    [signed] = await shop.granted()
    object.__setattr__(signed.grant, "id", "grt-none.0")
    with pytest.raises(NotFoundError):
        await shop.complete(signed)


async def test_what_nobody_reports_ends_as_unknown_and_not_before_its_time(shop: Workshop) -> None:
    used, unused = await shop.granted(step(to="ada"), step(id="s2"))
    await shop.redeem(used)
    shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS - 1)
    assert await shop.expire() == 0
    shop.clock.advance(1)
    assert (await shop.expire(), await shop.expire()) == (2, 0)
    assert await endings(shop) == {used.grant.id: 1, unused.grant.id: 1}
    told = {details(stored)["grant"]: details(stored)["redeemed"] for stored in await shop.events("execution.")}
    assert told == {used.grant.id: True, unused.grant.id: False}


async def test_every_overdue_grant_is_closed_however_many_there_are(shop: Workshop) -> None:
    for _ in range(5):
        await shop.granted(*(step(id=f"s{at}") for at in range(64)))
    shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS)
    assert await shop.expire() == 320
    assert set((await endings(shop)).values()) == {1}


async def given_up(shop: Workshop, *, used: bool = True) -> SignedGrant:
    """Return a grant that was given up because nobody told in time what came of it."""
    [signed] = await shop.granted()
    if used:
        await shop.redeem(signed)
    shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS)
    await shop.expire()
    return signed


@pytest.mark.parametrize(("used", "began"), [(True, GRANT_SECONDS), (True, None), (False, 0)])
async def test_a_call_that_began_after_the_end_is_an_incident_and_not_a_second_end(
    shop: Workshop, *, used: bool, began: int | None
) -> None:
    signed = await given_up(shop, used=used)
    # Who does not say when it began is not believed to have begun in time, nor who never used the grant up.
    started = 0 if began is None else signed.grant.issued_at_seconds + began
    with pytest.raises(GrantNotUsableError):
        await shop.complete(signed, started_at_seconds=started)
    assert await endings(shop) == {signed.grant.id: 1}
    assert "executed_after_expiry" in await shop.incidents()


async def test_a_call_that_began_in_time_and_is_told_late_is_on_record_and_no_incident(shop: Workshop) -> None:
    signed = await given_up(shop)
    told = await shop.complete(signed)
    assert (told.state, told.incidents) == (GrantState.EXPIRED_UNKNOWN, ())
    # It stays given up: what ended once does not end again.
    assert (await shop.state(signed)).state is GrantState.EXPIRED_UNKNOWN
    assert [stored.event.type for stored in await shop.events("execution.")] == [
        "execution.expired_unknown",
        "execution.told_late",
    ]
    assert await shop.incidents() == []


async def test_a_call_that_is_told_late_and_ran_otherwise_is_an_incident(shop: Workshop) -> None:
    signed = await given_up(shop)
    told = await shop.complete(signed, tool="mail/delete", arguments_digest=digest(b"{}"))
    assert [kind.value for kind in told.incidents] == ["other_tool", "other_arguments"]
    assert await shop.incidents() == ["other_tool", "other_arguments"]


async def test_what_is_told_late_counts_once_however_often_it_is_told(shop: Workshop) -> None:
    signed = await given_up(shop)
    told = await asyncio.gather(*(shop.complete(signed, cost=ExecutionCost(micro_usd=9)) for _ in range(8)))
    assert sorted(one.retried for one in told) == [False] + [True] * 7
    assert (await shop.complete(signed, cost=ExecutionCost(micro_usd=9))).retried
    assert len(await shop.events("execution.told_late")) == 1
    assert (await shop.incidents(), (await verified(shop.log_path)).problem) == ([], "")


async def test_another_report_after_one_that_was_told_late_is_an_incident(shop: Workshop) -> None:
    signed = await given_up(shop)
    await shop.complete(signed)
    with pytest.raises(GrantNotUsableError) as refused:
        await shop.complete(signed, result_digest=digest(b"a second run"))
    assert refused.value.metadata()["why"] == "grant_reused"
    assert len(await shop.events("execution.told_late")) == 1
    assert (await shop.incidents(), (await verified(shop.log_path)).problem) == (["grant_reused"], "")


async def test_nobody_else_tells_late_of_a_call(shop: Workshop) -> None:
    signed = await given_up(shop)
    with pytest.raises(GrantNotUsableError):
        await shop.complete(signed, by=principal("agent-b"))
    assert (await shop.incidents(), await shop.events("execution.told_late")) == (["other_caller"], [])


async def test_the_reaper_and_a_report_at_once_end_a_grant_once(shop: Workshop) -> None:
    grants = await shop.granted(*(step(id=f"s{at}") for at in range(32)))
    shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS)
    await asyncio.gather(shop.expire(), *(shop.complete(signed) for signed in grants), return_exceptions=True)
    assert await endings(shop) == {signed.grant.id: 1 for signed in grants}


async def test_a_restart_forgets_no_open_grant(tmp_path: Path) -> None:
    async with workshop(tmp_path) as shop:
        [signed] = await shop.granted()
        await shop.redeem(signed)
    async with workshop(tmp_path) as shop:
        shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS)
        assert await shop.expire() == 1
        assert (await shop.state(signed)).state is GrantState.EXPIRED_UNKNOWN


async def test_a_call_that_ran_otherwise_is_recorded_as_it_was_and_is_an_incident(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.redeem(signed)
    done = await shop.complete(signed, tool="bank/transfer", arguments_digest=digest(b"other"))
    assert (done.state, done.incidents) == (
        GrantState.EXECUTED,
        (IncidentKind.OTHER_TOOL, IncidentKind.OTHER_ARGUMENTS),
    )
    [ended] = await shop.events("execution.")
    assert (details(ended)["tool"], details(ended)["as_granted"]) == ("bank/transfer", False)
    assert await endings(shop) == {signed.grant.id: 1}


async def test_the_state_of_every_grant_is_what_the_events_tell(shop: Workshop) -> None:
    done, failed, lost, used, unused = await shop.granted(*(step(id=f"s{at}") for at in range(5)))
    await shop.run(done)
    await shop.redeem(failed)
    await shop.complete(failed, outcome=ExecutionOutcome.FAILED)
    shop.clock.advance(GRANT_SECONDS + REPORT_SECONDS)
    await shop.expire()
    [used] = await shop.granted()
    await shop.redeem(used)
    [unused] = await shop.granted()
    told: dict[str, str] = {}
    for stored in await shop.events():
        facts, (subject, _, word) = details(stored), stored.event.type.partition(".")
        if stored.event.type == "grant.issued":
            told |= {claims["jti"]: "issued" for claims in facts["grants"]}
        elif stored.event.type == "grant.redeemed":
            told[facts["grant"]] = "redeemed"
        elif subject == "execution":
            told[facts["grant"]] = word
    kept = {signed.grant.id: (await shop.state(signed)).state for signed in (done, failed, lost, used, unused)}
    assert kept == {name: told[name] for name in kept}
    assert (await shop.log.verify()).problem == ""
