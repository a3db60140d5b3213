"""Which grants a decision gives, to whom, and what a retry gets of them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aisecops_server.domain.callers.identity import BY_CERTIFICATE
from aisecops_server.domain.decisions.decision import Mode
from aisecops_server.domain.grants.grant import GrantState, claims_of
from aisecops_server.usecases.grants.revoke_grants import RevokeCommand

from tests.scenes.grants.granting import (
    AGENT,
    GRANT_SECONDS,
    HOLDER,
    Workshop,
    arguments_digest,
    details,
    principal,
    step,
    workshop,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(tmp_path) as opened:
        yield opened


async def test_an_allow_gives_one_grant_a_step_that_says_all_of_its_call(shop: Workshop) -> None:
    decided, grants = await shop.decided(step(to="ada"), step("files/read", id="s2", depends_on=["s1"], path="/a"))
    first, second = (signed.grant for signed in grants)
    assert (first.step_id, first.step_index, first.tool, first.audience) == ("s1", 0, "mail/send", "mail")
    assert (second.step_id, second.step_index, second.depends_on) == ("s2", 1, ("s1",))
    assert first.arguments_digest == arguments_digest(to="ada")
    # A token is anybody's who has it, so a grant is bound to whom it proves; a certificate is its holder's.
    assert (first.agent_id, first.thumbprint, "cnf" in claims_of(first)) == (AGENT.id, "", False)
    [bound] = await shop.granted(by=HOLDER)
    assert (bound.grant.thumbprint, claims_of(bound.grant)["cnf"]) == (
        HOLDER.thumbprint,
        {"credential#S256": HOLDER.thumbprint},
    )
    assert first.expires_at_seconds - first.issued_at_seconds == GRANT_SECONDS
    assert {first.plan_hash, second.plan_hash} == {decided.details["plan_hash"]}
    assert len({first.id, second.id}) == 2


async def test_the_event_of_a_grant_says_all_of_it_and_not_the_token(shop: Workshop) -> None:
    [signed] = await shop.granted()
    [issued] = await shop.events("grant.issued")
    assert details(issued)["grants"] == [claims_of(signed.grant)]
    signature = signed.token.rpartition(".")[2]
    assert all(signature.encode() not in stored.event.body for stored in await shop.events())


@pytest.mark.parametrize(
    ("tool", "mode"), [("db/delete", Mode.ENFORCE), ("bank/pay", Mode.ENFORCE), ("mail/send", Mode.DRY_RUN)]
)
async def test_nothing_is_granted_for_what_is_not_allowed_in_earnest(shop: Workshop, tool: str, mode: Mode) -> None:
    _, grants = await shop.decided(step(tool), mode=mode)
    assert grants == ()
    assert await shop.events("grant.") == []


async def test_one_refused_step_leaves_the_others_without_a_grant(shop: Workshop) -> None:
    _, grants = await shop.decided(step(to="ada"), step("db/delete", id="s2"))
    assert grants == ()


async def test_a_caller_without_a_credential_to_bind_to_gets_nothing(shop: Workshop) -> None:
    assert await shop.granted(by=dataclasses.replace(AGENT, thumbprint="")) == ()


async def test_a_retry_gets_the_same_grants_byte_for_byte_while_they_are_good(shop: Workshop) -> None:
    _, first = await shop.decided(step(to="ada"), step(id="s2"), key="k")
    shop.clock.advance(GRANT_SECONDS - 1)
    _, again = await shop.decided(step(to="ada"), step(id="s2"), key="k")
    assert [signed.token for signed in again] == [signed.token for signed in first]
    assert len(await shop.events("grant.issued")) == 1


async def test_a_retry_gets_no_grant_that_is_used_expired_or_revoked(shop: Workshop) -> None:
    _, (used, left) = await shop.decided(step(to="ada"), step(id="s2"), key="k")
    await shop.redeem(used)
    _, again = await shop.decided(step(to="ada"), step(id="s2"), key="k")
    assert [signed.grant.id for signed in again] == [left.grant.id]
    await shop.use.revoke(RevokeCommand("ada", "", decision_id=left.grant.decision_id))
    assert (await shop.decided(step(to="ada"), step(id="s2"), key="k"))[1] == ()
    _, fresh = await shop.decided(step(to="ada"), key="other")
    shop.clock.advance(GRANT_SECONDS)
    decided, gone = await shop.decided(step(to="ada"), key="other")
    assert (len(fresh), gone, decided.receipt.replayed) == (1, (), True)


async def test_a_retry_after_the_clock_went_back_gets_nothing(shop: Workshop) -> None:
    await shop.decided(step(to="ada"), key="k")
    shop.clock.advance(-3600)
    assert (await shop.decided(step(to="ada"), key="k"))[1] == ()


async def test_a_retry_with_another_certificate_or_a_token_of_the_same_agent_gets_nothing(shop: Workshop) -> None:
    await shop.decided(step(to="ada"), key="k", by=HOLDER)
    for other in (principal(credential="renewed", by=BY_CERTIFICATE), AGENT):
        assert (await shop.decided(step(to="ada"), key="k", by=other))[1] == ()
    assert len((await shop.decided(step(to="ada"), key="k", by=HOLDER))[1]) == 1


async def test_grants_outlive_a_restart(tmp_path: Path) -> None:
    async with workshop(tmp_path) as shop:
        _, [before] = await shop.decided(step(to="ada"), key="k")
    async with workshop(tmp_path) as shop:
        _, [after] = await shop.decided(step(to="ada"), key="k")
        assert after.token == before.token
        await shop.run(after)
        assert (await shop.state(after)).state is GrantState.EXECUTED
