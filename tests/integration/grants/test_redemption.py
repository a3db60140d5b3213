"""A grant opens exactly one call, of exactly one caller, exactly once; whatever else is refused and on record."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops_server.domain.callers.identity import BY_CERTIFICATE, Principal
from aisecops_server.domain.errors import AisecopsError, GrantNotUsableError
from aisecops_server.domain.formats.canonical import digest
from aisecops_server.domain.grants.execution import ExecutionOutcome
from aisecops_server.domain.grants.grant import GrantState
from aisecops_server.usecases.grants.issue_grants import SignedGrant
from aisecops_server.usecases.grants.redeem_grant import Bearer, Redeemed
from aisecops_server.usecases.grants.revoke_grants import RevokeCommand

from tests.scenes.grants.granting import AGENT, GRANT_SECONDS, HOLDER, Workshop, details, principal, step, workshop

pytestmark = pytest.mark.asyncio
RACERS = 64


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(tmp_path) as opened:
        yield opened


async def refused(shop: Workshop, signed: SignedGrant, **changed: Any) -> str:
    """Return why a redemption was refused."""
    with pytest.raises(GrantNotUsableError) as refusal:
        await shop.redeem(signed, **changed)
    return refusal.value.metadata()["why"]


async def test_a_grant_is_good_for_one_call(shop: Workshop) -> None:
    [signed] = await shop.granted()
    assert await shop.redeem(signed) == Redeemed(signed.grant, retried=False)
    assert await refused(shop, signed) == "reused"
    assert await shop.incidents() == ["grant_reused"]
    assert [stored.event.type for stored in await shop.events("grant.redeemed")] == ["grant.redeemed"]


async def test_a_redemption_that_is_sent_again_is_the_same_one(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.redeem(signed, key="the-same-call-again")
    assert (await shop.redeem(signed, key="the-same-call-again")).retried
    assert (len(await shop.events("grant.redeemed")), await shop.incidents()) == (1, [])
    await shop.complete(signed)
    assert await refused(shop, signed, key="the-same-call-again") == "reused"


async def test_of_many_who_race_for_one_grant_one_gets_it(shop: Workshop) -> None:
    [signed] = await shop.granted()

    async def race() -> bool:
        try:
            return bool(await shop.redeem(signed))
        except GrantNotUsableError:
            return False

    assert sum(await asyncio.gather(*(race() for _ in range(RACERS)))) == 1
    assert await shop.incidents() == ["grant_reused"] * (RACERS - 1)


async def test_a_used_grant_stays_used_after_a_restart(tmp_path: Path) -> None:
    async with workshop(tmp_path) as shop:
        [signed] = await shop.granted()
        await shop.redeem(signed)
    async with workshop(tmp_path) as shop:
        assert await refused(shop, signed) == "reused"


@pytest.mark.parametrize("given_to", [AGENT, HOLDER], ids=lambda given: given.authenticated_by)
async def test_a_stolen_grant_is_useless_to_any_other_agent(shop: Workshop, given_to: Principal) -> None:
    [signed] = await shop.granted(by=given_to)
    thief = principal("agent-b", "other")
    assert await refused(shop, signed, by=thief) == "other_caller"
    # Who knows the thumbprint, which is no secret, is not the agent, and a certificate of somebody else is no help.
    assert await refused(shop, signed, by=dataclasses.replace(thief, thumbprint=given_to.thumbprint)) == "other_caller"
    assert await refused(shop, signed, by=principal("agent-b", "other", BY_CERTIFICATE)) == "other_caller"
    assert await shop.incidents() == ["other_caller"] * 3
    assert (await shop.state(signed)).state is GrantState.ISSUED


async def test_an_agent_that_renews_its_token_between_grant_and_call_is_still_the_agent(shop: Workshop) -> None:
    renewed = principal(credential="the token after that one")
    first, second = await shop.granted(step(to="a"), step(id="s2"))
    assert not (await shop.redeem(first, by=renewed)).retried
    # One grant opens one call, whichever of its tokens the agent shows: a second one is no second use.
    assert await refused(shop, first, by=AGENT) == "reused"
    assert await refused(shop, first, by=renewed) == "reused"
    assert await shop.incidents() == ["grant_reused"] * 2
    # A token that was withdrawn is refused before it gets here; what counts is who it proved.
    await shop.redeem(second, by=principal(credential="certificate", by=BY_CERTIFICATE))
    assert (await shop.complete(first, by=renewed)).incidents == ()


async def test_a_retry_with_a_newer_token_gets_the_grant_again_and_nobody_else_does(shop: Workshop) -> None:
    decided, given = await shop.decided(step(to="ada"), key="the-same-question-again")
    again, same = await shop.decided(step(to="ada"), key="the-same-question-again", by=principal(credential="newer"))
    assert (again.receipt.replayed, [signed.grant.id for signed in same]) == (True, [given[0].grant.id])
    assert await shop.use.hand_out(again, principal("agent-b")) == ()
    assert not decided.receipt.replayed


async def test_what_a_certificate_was_given_nothing_else_of_the_agent_uses(shop: Workshop) -> None:
    [signed] = await shop.granted(by=HOLDER)
    newer = principal(credential="the certificate after that one", by=BY_CERTIFICATE)
    assert await refused(shop, signed, by=AGENT) == "other_caller"
    assert await refused(shop, signed, by=newer) == "other_caller"
    # Stolen with the agent's token, it is as useless as without.
    assert await refused(shop, signed, by=AGENT, bearer=Bearer(AGENT.id, AGENT.thumbprint)) == "other_caller"
    await shop.redeem(signed, by=HOLDER)


async def test_a_tool_server_says_whose_token_it_saw_and_a_certificate_proves_nothing_of_it(shop: Workshop) -> None:
    [signed] = await shop.granted()
    tool = "spiffe://example.org/tool/mail"
    assert await refused(shop, signed, caller=tool, bearer=Bearer("", AGENT.thumbprint)) == "other_caller"
    assert await refused(shop, signed, caller=tool, bearer=Bearer("", HOLDER.thumbprint)) == "other_caller"
    assert await refused(shop, signed, caller=tool, bearer=Bearer("", "")) == "other_caller"
    await shop.redeem(signed, caller=tool, bearer=Bearer(AGENT.id, HOLDER.thumbprint))


async def test_a_tool_server_redeems_by_what_it_saw_of_the_caller(shop: Workshop) -> None:
    [first, second, third] = await shop.granted(step(to="a"), step(id="s2"), step(id="s3"), by=HOLDER)
    tool = "spiffe://example.org/tool/mail"
    await shop.redeem(first, caller=tool, bearer=Bearer("", HOLDER.thumbprint))
    await shop.redeem(second, caller=tool, bearer=Bearer(AGENT.id, ""))
    assert await refused(shop, third, caller=tool, bearer=Bearer(AGENT.id, digest(b"other"))) == "other_caller"
    assert await refused(shop, third, caller=tool, bearer=Bearer("", "")) == "other_caller"
    assert [details(event)["principal"] for event in await shop.events("grant.redeemed")] == [tool, tool]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"tool": "mail/delete"}, "other_tool"),
        ({"tool": "bank/send"}, "other_tool"),
        ({"arguments_digest": digest(b"{}")}, "other_arguments"),
    ],
)
async def test_a_grant_opens_no_other_call(shop: Workshop, changed: dict[str, str], why: str) -> None:
    [signed] = await shop.granted()
    assert await refused(shop, signed, **changed) == why
    assert await shop.incidents() == [why]


async def test_the_grant_of_another_step_does_not_open_this_one(shop: Workshop) -> None:
    first, second = await shop.granted(step(to="ada"), step(id="s2", to="eve"))
    assert await refused(shop, first, arguments_digest=second.grant.arguments_digest) == "other_arguments"


async def test_steps_run_after_what_they_depend_on_has_run(shop: Workshop) -> None:
    first, second, third = await shop.granted(
        step(to="ada"), step(id="s2", depends_on=["s1"]), step(id="s3", depends_on=["s1", "s2"])
    )
    assert await refused(shop, second) == "out_of_order"
    await shop.redeem(first)
    assert await refused(shop, second) == "out_of_order"
    await shop.complete(first)
    assert await refused(shop, third) == "out_of_order"
    await shop.run(second)
    await shop.run(third)
    assert await shop.incidents() == ["out_of_order"] * 3


async def test_what_depends_on_a_failed_step_does_not_run(shop: Workshop) -> None:
    first, second = await shop.granted(step(to="ada"), step(id="s2", depends_on=["s1"]))
    await shop.redeem(first)
    await shop.complete(first, outcome=ExecutionOutcome.FAILED)
    assert await refused(shop, second) == "out_of_order"


async def test_a_step_of_the_same_name_in_another_plan_counts_for_nothing(shop: Workshop) -> None:
    trace = "1" * 32
    _, [other] = await shop.decided(step(to="ada"), trace_id=trace)
    await shop.run(other)
    _, (_, second) = await shop.decided(step(to="ada"), step(id="s2", depends_on=["s1"]), trace_id=trace)
    assert await refused(shop, second) == "out_of_order"


@pytest.mark.parametrize(
    ("seconds", "why"), [(GRANT_SECONDS, "expired"), (400 * 86_400, "expired"), (-60, "not_yet_valid")]
)
async def test_no_clock_makes_a_grant_last_longer(shop: Workshop, seconds: int, why: str) -> None:
    [signed] = await shop.granted()
    shop.clock.advance(seconds)
    assert await refused(shop, signed) == why
    [told] = await shop.events("grant.refused")
    assert (details(told)["why"], await shop.incidents()) == (why, [])


async def test_a_clock_that_is_set_back_makes_no_grant_good_again(shop: Workshop) -> None:
    [signed] = await shop.granted()
    shop.clock.advance(GRANT_SECONDS + 5)
    shop.clock.set_back(10)
    assert await refused(shop, signed) == "expired"
    [told] = await shop.events("grant.refused")
    assert details(told)["why"] == "expired"


async def test_a_grant_is_good_until_its_last_second(shop: Workshop) -> None:
    [signed] = await shop.granted()
    shop.clock.advance(GRANT_SECONDS - 1)
    assert (await shop.redeem(signed)).grant == signed.grant


async def test_a_revoked_grant_opens_nothing_and_a_running_call_may_still_be_told(shop: Workshop) -> None:
    running, waiting = await shop.granted(step(to="ada"), step(id="s2"))
    await shop.redeem(running)
    assert await shop.use.revoke(RevokeCommand("sec", "agent misbehaves", agent_id=AGENT.id)) == 1
    assert await refused(shop, waiting) == "revoked"
    await shop.complete(running)
    [told] = await shop.events("grant.revoked")
    assert details(told) == {
        "principal": "sec",
        "reason": "agent misbehaves",
        "agent": AGENT.id,
        "grants": [waiting.grant.id],
    }


async def test_a_grant_that_the_state_does_not_hold_opens_nothing(tmp_path: Path) -> None:
    async with workshop(tmp_path / "a") as shop:
        [signed] = await shop.granted()
    async with workshop(tmp_path / "b") as other:
        (await other.granted())
        assert await refused(other, signed) == "forged"
        own = SignedGrant(signed.grant, other.key.sign(signed.grant))
        assert await refused(other, own) == "unknown"


async def test_nothing_is_used_up_when_it_cannot_be_recorded(shop: Workshop) -> None:
    [signed] = await shop.granted()
    await shop.log.close()
    with pytest.raises(AisecopsError) as failure:
        await shop.redeem(signed)
    assert failure.value.reason == "LOG_UNAVAILABLE"
