"""Two tenants in one process: each is decided by its own policy, and keeps its own record of it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from aisecops.v1 import decision_pb2
from aisecops_client import AccessRefusedError, AsyncClient, NotFoundError
from aisecops_server.domain.callers.identity import Role

from tests.scenes.planes.tenants import BANK, SHOP, House, house_in, open_house, refund

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

ALLOW, DENY = decision_pb2.OUTCOME_ALLOW, decision_pb2.OUTCOME_DENY


async def decided(client: AsyncClient) -> decision_pb2.Decision:
    return (await client.decide(refund())).decision


async def told(house: House, tenant: str) -> list[tuple[str, str, str]]:
    """Return type, tenant and revision of everything in a tenant's log that names its tenant."""
    events = house.planes[tenant].log.events(from_index=0, follow=False, trace_id="")
    found = [(stored.event.type, stored.event.details()) async for stored in events]
    return [
        (kind, str(details["tenant"]), str(details.get("bundle_revision", details.get("revision", ""))))
        for kind, details in found
        if "tenant" in details
    ]


async def test_the_same_plan_of_the_same_agent_is_decided_by_the_policy_of_its_tenant(tmp_path: Path) -> None:
    async with open_house(house_in(tmp_path)) as house:
        async with house.client(of=SHOP) as shop, house.client(of=BANK) as bank:
            allowed, denied = await decided(shop), await decided(bank)
        assert (allowed.outcome, allowed.tenant, allowed.bundle_revision) == (ALLOW, SHOP, house.remotes[SHOP].head())
        assert (denied.outcome, denied.tenant, denied.bundle_revision) == (DENY, BANK, house.remotes[BANK].head())
        for tenant in (SHOP, BANK):
            events = await told(house, tenant)
            assert {(of, revision) for _, of, revision in events} == {(tenant, house.live(tenant))}
            assert {"bundle.activated", "policy.evaluated", "decision.concluded"} <= {kind for kind, _, _ in events}


async def test_whose_a_caller_is_comes_from_its_credential_alone(tmp_path: Path) -> None:
    async with open_house(house_in(tmp_path)) as house:
        async with house.client(of=BANK, tenant=SHOP) as pretends:
            with pytest.raises(NotFoundError, match="of no such tenant here") as of_another:
                await decided(pretends)
        async with house.client(of=BANK, tenant="nowhere") as guesses:
            with pytest.raises(NotFoundError) as of_none:
                await decided(guesses)
        async with house.client(of="nowhere") as gone:
            with pytest.raises(NotFoundError) as not_served:
                await decided(gone)
        # Whether there is such a tenant is not told.
        assert str(of_another.value) == str(of_none.value) == str(not_served.value)
        async with house.client(of=(SHOP, BANK), tenant=SHOP) as both:
            with pytest.raises(AccessRefusedError, match="of several tenants"):
                await decided(both)
        async with house.client(of=()) as nobodys:
            with pytest.raises(AccessRefusedError, match="of no tenant"):
                await decided(nobodys)
        for tenant in (SHOP, BANK):
            assert {kind for kind, _, _ in await told(house, tenant)} == {"bundle.activated"}


async def test_a_person_of_several_tenants_says_which_is_meant(tmp_path: Path) -> None:
    async with open_house(house_in(tmp_path)) as house:
        for tenant in (SHOP, BANK):
            async with house.client(Role.PLATFORM, subject="ops@corp.example", of=(SHOP, BANK), tenant=tenant) as ops:
                status = await ops.bundle_status()
            assert (status.tenant, status.live.commit) == (tenant, house.remotes[tenant].head())
        async with house.client(Role.PLATFORM, subject="ops@corp.example", of=(SHOP, BANK)) as vague:
            with pytest.raises(Exception, match="of several tenants"):
                await vague.bundle_status()


async def test_a_repository_that_breaks_stops_one_tenant_from_changing_and_the_other_from_nothing(
    tmp_path: Path,
) -> None:
    async with open_house(house_in(tmp_path)) as house:
        before = house.live(BANK)
        shutil.rmtree(house.remotes[BANK].path / ".git")
        await asyncio.gather(*(plane.policy.sync() for plane in house.planes.values()), return_exceptions=True)
        fresh = house.remotes[SHOP].commit({"data/modes.yaml": b"# 2\ndefault: enforce\nagents: {}\nrules: {}\n"})
        await house.planes[SHOP].policy.sync()
        assert (house.live(SHOP), house.live(BANK)) == (fresh, before)
        assert house.planes[SHOP].policy.status().problem == ""
        assert house.planes[BANK].policy.status().problem != ""
        async with house.client(of=BANK) as bank, house.client(of=SHOP) as shop:
            assert ((await decided(bank)).outcome, (await decided(shop)).outcome) == (DENY, ALLOW)


async def test_a_tenant_that_never_had_a_policy_is_refused_and_says_why_while_the_other_decides(
    tmp_path: Path,
) -> None:
    house = house_in(tmp_path)
    shutil.rmtree(house.remotes[BANK].path)
    async with open_house(house), house.client(of=SHOP) as shop, house.client(of=BANK) as bank:
        assert (await decided(shop)).outcome == ALLOW
        with pytest.raises(Exception, match="no policy revision is live"):
            await decided(bank)


async def test_what_was_live_of_each_is_live_again_after_a_restart(tmp_path: Path) -> None:
    house = house_in(tmp_path)
    async with open_house(house):
        first = {tenant: house.live(tenant) for tenant in (SHOP, BANK)}
    for remote in house.remotes.values():
        shutil.rmtree(remote.path)
    async with open_house(house):
        assert {tenant: house.live(tenant) for tenant in (SHOP, BANK)} == first
