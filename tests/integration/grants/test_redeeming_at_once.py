"""A grant that is used up with its decision: one call instead of two, and nothing less certain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aisecops_server.domain.errors import GrantNotUsableError, IdempotencyConflictError
from aisecops_server.domain.grants.grant import GrantState
from aisecops_server.usecases.grants.issue_grants import SignedGrant

from tests.scenes.grants.granting import AGENT, GRANT_SECONDS, Workshop, details, principal, step, workshop

pytestmark = pytest.mark.asyncio
KEY = "redemption-of-this-call"


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with workshop(tmp_path) as opened:
        opened.engine.obligations = []
        yield opened


async def used(shop: Workshop, *steps: Any, **fields: Any) -> tuple[SignedGrant, ...]:
    return (await shop.decided(*(steps or (step(to="ada"),)), redeem=KEY, **fields))[1]


async def test_it_is_used_up_in_the_transaction_of_its_decision(shop: Workshop) -> None:
    [signed] = await used(shop)
    assert (signed.redeemed, (await shop.state(signed)).state) == (True, GrantState.REDEEMED)
    types = [stored.event.type for stored in await shop.events()]
    assert types.index("grant.issued") + 1 == types.index("grant.redeemed") < types.index("decision.concluded")
    [redeemed] = await shop.events("grant.redeemed")
    assert (details(redeemed)["principal"], KEY in str(details(redeemed))) == (AGENT.id, False)
    with pytest.raises(GrantNotUsableError) as again:
        await shop.redeem(signed)
    assert again.value.metadata()["why"] == "reused"
    assert (await shop.redeem(signed, key=KEY)).retried
    await shop.complete(signed)
    assert (await shop.state(signed)).state is GrantState.EXECUTED
    assert await shop.incidents() == ["grant_reused"]


async def test_what_something_has_to_precede_is_not_used_up(shop: Workshop) -> None:
    first, second = await used(shop, step(to="ada"), step(id="s2", depends_on=["s1"], to="bob"))
    assert [(await shop.state(signed)).state for signed in (first, second)] == [
        GrantState.REDEEMED,
        GrantState.ISSUED,
    ]
    assert [first.redeemed, second.redeemed] == [True, False]
    for kind, at_once in (("confirm", False), ("tell_the_owner", False), ("limit", True), ("redact", True)):
        parameters = {"redact": {"fields": ["iban"]}, "limit": {"rows": 3}}.get(kind, {})
        shop.engine.obligations = [{"kind": kind, "step": "s1", "parameters": parameters}]
        [signed] = await used(shop)
        assert signed.redeemed is at_once, kind


async def test_a_retry_of_the_same_request_gets_it_again_and_nobody_else(shop: Workshop) -> None:
    [signed] = await used(shop, key="decide-once")
    [again] = await used(shop, key="decide-once")
    assert (again.grant.id, again.redeemed) == (signed.grant.id, True)
    with pytest.raises(IdempotencyConflictError):
        await shop.decided(step(to="ada"), redeem="another-call-of-the-same-key", key="decide-once")
    # The same request with the agent's next token is the same request; with the name of another agent it is none.
    [renewed] = await used(shop, key="decide-once", by=principal(credential="the token after that one"))
    assert renewed.grant.id == signed.grant.id
    assert signed.grant.id not in {given.grant.id for given in await used(shop, key="decide-once", by=principal("b"))}
    await shop.complete(signed)
    assert await used(shop, key="decide-once") == ()
    [late] = await used(shop, key="decide-later")
    shop.clock.advance(GRANT_SECONDS)
    assert await used(shop, key="decide-later") == ()
    assert (await shop.state(late)).state is GrantState.REDEEMED


async def test_a_retry_does_not_get_what_another_call_redeemed(shop: Workshop) -> None:
    _, second = await used(shop, step(to="ada"), step(id="s2", depends_on=["s1"], to="bob"), key="both")
    [first, _] = await used(shop, step(to="ada"), step(id="s2", depends_on=["s1"], to="bob"), key="both")
    await shop.complete(first)
    await shop.redeem(second)
    assert await used(shop, step(to="ada"), step(id="s2", depends_on=["s1"], to="bob"), key="both") == ()


async def test_of_many_who_retry_at_once_all_have_one_grant(shop: Workshop) -> None:
    found = await asyncio.gather(*(used(shop, key="raced") for _ in range(16)))
    assert len({signed.grant.id for [signed] in found}) == 1
    assert len(await shop.events("grant.redeemed")) == 1


async def test_what_nobody_completes_ends_as_unknown(shop: Workshop) -> None:
    [signed] = await used(shop)
    shop.clock.advance(GRANT_SECONDS + 3600)
    assert await shop.expire() == 1
    assert (await shop.state(signed)).state is GrantState.EXPIRED_UNKNOWN
